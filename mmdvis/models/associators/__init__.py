"""Associators: they give the detections of a frame the numbers of tracks. Their memory is a value."""

from .affinity import AffinityAssociator
from .flow_iou import FlowIoUAssociator
from .rank import RankAssociator

__all__ = ['AffinityAssociator', 'FlowIoUAssociator', 'RankAssociator']
