"""Metric computation as pure functions of NumPy arrays, without dependencies on models, torch or mmengine."""
