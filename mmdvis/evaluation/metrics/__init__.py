"""Thin mmengine metrics above the counting functions."""
from .stq_metric import STQMetric
from .vpq_metric import VPQMetric

__all__ = ['STQMetric', 'VPQMetric']
