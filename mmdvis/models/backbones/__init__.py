"""Backbones in addition to those of mmdet."""

from .dinov2 import DINOv2
from .dinov3 import DINOv3
from .efficientnet_lite import EfficientNetLite
from .hf_backbone import HFBackbone
from .vit_adapter import ViTAdapter

__all__ = ['DINOv2', 'DINOv3', 'EfficientNetLite', 'HFBackbone', 'ViTAdapter']
