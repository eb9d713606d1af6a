"""Heads of per-frame detectors that mmdet does not have."""

from .track_embed import TrackEmbedHead
from .upsnet_semantic import UPSNetSemanticHead

__all__ = ['TrackEmbedHead', 'UPSNetSemanticHead']
