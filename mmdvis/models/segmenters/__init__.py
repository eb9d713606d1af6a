"""Segmenters: find the objects of each frame."""

from .eomt_segmenter import EoMTSegmenter
from .mask2former_segmenter import Mask2FormerSegmenter

__all__ = ['EoMTSegmenter', 'Mask2FormerSegmenter']
