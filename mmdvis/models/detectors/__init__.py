"""Detectors: models that combine the stages."""

from .clip_preprocessor import ClipPreprocessor
from .dvis import DVIS
from .per_frame import PerFrameModel
from .video_fusion import VideoFusion
from .vpsnet import VPSNet

__all__ = ['ClipPreprocessor', 'DVIS', 'PerFrameModel', 'VPSNet', 'VideoFusion']
