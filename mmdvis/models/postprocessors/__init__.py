"""Postprocessors: what a task makes of a prediction."""

from .instance import InstancePostprocessor
from .panoptic import PanopticPostprocessor
from .semantic import SemanticPostprocessor

__all__ = ['InstancePostprocessor', 'PanopticPostprocessor', 'SemanticPostprocessor']
