"""Optical flow between two frames; estimators are no modules, so that checkpoints do not contain them."""

from .estimators import DISFlow, FlowFiles, RAFTFlow, ZeroFlow
from .fields import flip_flow, quarter_flow, read_flow, resize_flow, write_flow

__all__ = [
    'DISFlow',
    'FlowFiles',
    'RAFTFlow',
    'ZeroFlow',
    'flip_flow',
    'quarter_flow',
    'read_flow',
    'resize_flow',
    'write_flow',
]
