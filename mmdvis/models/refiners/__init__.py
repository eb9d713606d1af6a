"""Refiners."""

from .temporal_refiner import TemporalRefiner

__all__ = ['TemporalRefiner']
