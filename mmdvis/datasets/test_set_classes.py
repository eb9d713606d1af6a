"""Classes of the benchmark that a config is tested on."""

from typing import Any

from mmengine.config import Config

from mmdvis.registry import DATASETS

from .classes import KNOWN_CLASSES, known_classes
from .coco import CocoInstanceClipDataset, CocoPanopticClipDataset
from .vspw import VSPWDataset
from .youtube_vis import YouTubeVISDataset


def classes_of_test_set(settings: Config) -> dict[str, Any] | None:
    """The class information of the benchmark that a config is tested on; None if unknown."""
    dataset = (settings.get('test_dataloader') or {}).get('dataset') or {}
    kind = DATASETS.get(dataset['type']) if dataset.get('type') else None
    name = dataset.get('class_list') or getattr(kind, 'CLASS_LIST', None)
    if kind is VSPWDataset:
        name = dataset.get('categories', 'VSPW')
    elif kind is YouTubeVISDataset:
        name = f'YouTubeVIS{dataset.get("version", 2021)}'
    elif kind is CocoPanopticClipDataset:
        name = 'COCOPanoptic'
    elif kind is CocoInstanceClipDataset:
        name = dataset.get('target') or 'COCO'
    if name not in KNOWN_CLASSES or len(known_classes(name).names) != settings.model.get('num_classes'):
        return None
    return known_classes(name).metainfo()
