"""Shared test helpers: tiny models, datasets and configs, and functions that run commands."""
