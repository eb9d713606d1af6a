"""Converters from the official releases to the layouts of the dataset classes."""
