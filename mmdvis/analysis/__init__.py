"""Measuring models, datasets and results: profiles, costs, error analysis, dataset checks and reports."""
