"""Optimizers."""

from .bfloat16 import BFloat16OptimWrapper
from .grouped_constructor import GroupedConstructor

__all__ = ['BFloat16OptimWrapper', 'GroupedConstructor']
