"""Stages and the detectors that compose them."""

from .backbones import DINOv2, HFBackbone, ViTAdapter
from .detectors import DVIS, ClipPreprocessor, VideoFusion
from .functional.layer_predictions import LayerPredictions
from .losses import QuerySetLoss
from .postprocessors import InstancePostprocessor, PanopticPostprocessor, SemanticPostprocessor
from .refiners import TemporalRefiner
from .segmenters import Mask2FormerSegmenter
from .trackers import CosineTracker, DVISTracker

__all__ = [
    'ClipPreprocessor',
    'CosineTracker',
    'DINOv2',
    'DVIS',
    'DVISTracker',
    'HFBackbone',
    'InstancePostprocessor',
    'LayerPredictions',
    'Mask2FormerSegmenter',
    'PanopticPostprocessor',
    'QuerySetLoss',
    'SemanticPostprocessor',
    'TemporalRefiner',
    'VideoFusion',
    'ViTAdapter',
]
