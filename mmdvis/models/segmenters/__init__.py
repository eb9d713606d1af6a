"""Segmenters: find the objects of each frame."""

from .eomt_segmenter import EoMTSegmenter
from .mask2former_segmenter import Mask2FormerSegmenter
from .videomt_segmenter import VidEoMTSegmenter

__all__ = ['EoMTSegmenter', 'Mask2FormerSegmenter', 'VidEoMTSegmenter']
