"""Optical flow between two frames; estimators are no modules, so that checkpoints do not contain them."""

from .estimators import DISFlow, RAFTFlow, ZeroFlow

__all__ = ['DISFlow', 'RAFTFlow', 'ZeroFlow']
