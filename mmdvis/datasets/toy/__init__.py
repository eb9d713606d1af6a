"""Synthetic videos with ground truth: scenes, rendering, and dataset layouts."""
