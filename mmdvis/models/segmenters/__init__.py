"""Segmenters: per-frame query outputs from frames."""

from .mask2former_segmenter import Mask2FormerSegmenter

__all__ = ['Mask2FormerSegmenter']
