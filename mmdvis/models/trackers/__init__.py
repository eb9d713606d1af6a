"""Trackers."""

from .cosine_tracker import CosineTracker
from .dvis_tracker import DVISTracker
from .fixed_tracker import FixedTracker

__all__ = ['CosineTracker', 'DVISTracker', 'FixedTracker']
