"""Synthetic videos with ground truth: scenes, their rendering, and the layouts they are written in."""
