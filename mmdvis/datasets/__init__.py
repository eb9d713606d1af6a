"""Datasets on their official files."""
from . import transforms
from .clip_dataset import ClipDataset
from .vipseg import VIPSegDataset

__all__ = ['ClipDataset', 'VIPSegDataset', 'transforms']
