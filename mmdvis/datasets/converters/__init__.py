"""Converters from the official releases to the layouts that the datasets read."""
