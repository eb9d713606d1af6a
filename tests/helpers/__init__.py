"""Machinery that tests share: tiny models, datasets and configs, and running commands."""
