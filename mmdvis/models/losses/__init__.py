"""Losses."""

from .query_set_loss import QuerySetLoss

__all__ = ['QuerySetLoss']
