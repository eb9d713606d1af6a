"""Datasets on their official files."""

from . import samplers, transforms
from .base import ClipDataset
from .cityscapes_images import CityscapesPanopticDataset
from .cityscapes_vps import CityscapesVPSDataset, VIPERVPSDataset
from .coco import CocoInstanceClipDataset, CocoPanopticClipDataset
from .concat import ConcatClipDataset
from .davis import CamVidDataset, DAVISDataset
from .image_folder import ImageFolderVideoDataset
from .vipseg import VIPSegDataset
from .vspw import VSPWDataset
from .youtube_vis import OVISDataset, YouTubeVISDataset

__all__ = [
    'CamVidDataset',
    'CityscapesPanopticDataset',
    'CityscapesVPSDataset',
    'ClipDataset',
    'DAVISDataset',
    'ConcatClipDataset',
    'CocoInstanceClipDataset',
    'CocoPanopticClipDataset',
    'ImageFolderVideoDataset',
    'OVISDataset',
    'VIPERVPSDataset',
    'VIPSegDataset',
    'VSPWDataset',
    'YouTubeVISDataset',
    'samplers',
    'transforms',
]
