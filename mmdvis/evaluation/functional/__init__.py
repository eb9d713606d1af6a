"""Counting as pure functions of NumPy arrays: nothing here knows of models, torch or mmengine."""
