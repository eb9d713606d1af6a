"""Necks: they change the feature pyramid of a frame."""

from .temporal_fuse import TemporalFuse

__all__ = ['TemporalFuse']
