"""Measures of video segmentation."""
