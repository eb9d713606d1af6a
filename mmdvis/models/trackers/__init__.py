"""Trackers."""

from .cosine_tracker import CosineTracker
from .dvis_tracker import DVISTracker

__all__ = ['CosineTracker', 'DVISTracker']
