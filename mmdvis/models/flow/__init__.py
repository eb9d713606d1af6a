"""Optical flow between two frames; estimators are no modules, so that checkpoints do not contain them."""

from .estimators import DISFlow, FlowFiles, RAFTFlow, ZeroFlow
from .fields import quarter_flow, read_flow, write_flow

__all__ = ['DISFlow', 'FlowFiles', 'RAFTFlow', 'ZeroFlow', 'quarter_flow', 'read_flow', 'write_flow']
