"""Datasets on their official files."""
from . import samplers, transforms
from .cityscapes_vps import CityscapesVPSDataset, VIPERVPSDataset
from .clip_dataset import ClipDataset
from .coco_clips import CocoInstanceClipDataset, CocoPanopticClipDataset
from .image_folder import ImageFolderVideoDataset
from .mixture import ClipMixture
from .vipseg import VIPSegDataset
from .vspw import VSPWDataset
from .youtube_vis import OVISDataset, YouTubeVISDataset

__all__ = [
    'CityscapesVPSDataset', 'ClipDataset', 'ClipMixture', 'CocoInstanceClipDataset', 'CocoPanopticClipDataset',
    'ImageFolderVideoDataset', 'OVISDataset', 'VIPERVPSDataset', 'VIPSegDataset', 'VSPWDataset', 'YouTubeVISDataset',
    'samplers', 'transforms'
]
