"""Stages and the detectors that compose them."""

from .associators import AffinityAssociator, FlowIoUAssociator, RankAssociator
from .backbones import DINOv2, HFBackbone, ViTAdapter
from .detectors import DVIS, ClipPreprocessor, PerFrameModel, VideoFusion, VPSNet
from .flow import DISFlow, RAFTFlow, ZeroFlow
from .functional.layer_predictions import LayerPredictions
from .functional.matching import track_orders
from .heads import TrackEmbedHead, UPSNetSemanticHead
from .layers.linear import Linear, PointwiseConv
from .losses import QuerySetLoss
from .necks import TemporalFuse
from .postprocessors import InstancePostprocessor, PanopticPostprocessor, SemanticPostprocessor
from .refiners import TemporalRefiner
from .segmenters import Mask2FormerSegmenter
from .trackers import CosineTracker, DVISTracker

__all__ = [
    'PerFrameModel',
    'VPSNet',
    'TemporalFuse',
    'UPSNetSemanticHead',
    'TrackEmbedHead',
    'ZeroFlow',
    'RAFTFlow',
    'DISFlow',
    'RankAssociator',
    'FlowIoUAssociator',
    'AffinityAssociator',
    'ClipPreprocessor',
    'CosineTracker',
    'DINOv2',
    'DVIS',
    'DVISTracker',
    'HFBackbone',
    'InstancePostprocessor',
    'LayerPredictions',
    'Linear',
    'Mask2FormerSegmenter',
    'PanopticPostprocessor',
    'PointwiseConv',
    'QuerySetLoss',
    'SemanticPostprocessor',
    'TemporalRefiner',
    'VideoFusion',
    'ViTAdapter',
    'track_orders',
]
