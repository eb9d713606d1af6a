"""Optimizers."""
from .grouped_constructor import GroupedConstructor

__all__ = ['GroupedConstructor']
