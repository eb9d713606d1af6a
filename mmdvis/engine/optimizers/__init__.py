"""Optimizers, and schedules of their learning rates."""

from .bfloat16 import BFloat16OptimWrapper
from .grouped_constructor import GroupedConstructor
from .two_stage_poly import TwoStagePolyLR

__all__ = ['BFloat16OptimWrapper', 'GroupedConstructor', 'TwoStagePolyLR']
