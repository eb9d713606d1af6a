"""Detectors: the conductors that compose the stages."""
from .clip_preprocessor import ClipPreprocessor
from .dvis import DVIS

__all__ = ['ClipPreprocessor', 'DVIS']
