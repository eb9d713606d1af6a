"""Brings releases into the layouts that the datasets read."""
