"""Modules that stages are built from."""
