"""Comparison of our models with fixtures that the released code made."""
