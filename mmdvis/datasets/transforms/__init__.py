"""Transforms that sample, load, augment and pack the clips of a dataset."""

from .geometry import CropClip, FlipClip, JitterClip, ResizeClip, RotateClip, ScaleClip
from .ground_truth import ids_and_labels_of
from .loading import LoadClip, OpenVideo, PackClip
from .optical_flow import LoadFlow
from .sampling import SampleClip

__all__ = [
    'CropClip',
    'FlipClip',
    'JitterClip',
    'LoadClip',
    'LoadFlow',
    'OpenVideo',
    'PackClip',
    'ResizeClip',
    'RotateClip',
    'SampleClip',
    'ScaleClip',
    'ids_and_labels_of',
]
