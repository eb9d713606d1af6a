"""Reading and writing of frames, images, masks, videos and feature stores."""

from .arrays import ArrayFrames
from .atomic_write import atomic_write, replace_path, write_json
from .background_writer import BackgroundWriter
from .disk_maps import DiskBackedMaps
from .feature_stores import STORES, MemoryNeed, feature_store
from .frame_sources import FileFrames, open_frames
from .frame_views import (
    CountedFrames,
    FlippedFrames,
    PrefetchedFrames,
    ResizedFrames,
    original_frames,
    short_edge_size,
    transform_frames,
)
from .images import IMAGE_SUFFIXES, describe_unreadable, image_size, natural_key, read_image, read_pixels
from .panoptic_png import id_to_rgb
from .video_files import VideoFileFrames
from .video_writer import VideoWriter

__all__ = [
    'IMAGE_SUFFIXES',
    'STORES',
    'ArrayFrames',
    'CountedFrames',
    'FileFrames',
    'FlippedFrames',
    'BackgroundWriter',
    'MemoryNeed',
    'PrefetchedFrames',
    'ResizedFrames',
    'DiskBackedMaps',
    'VideoFileFrames',
    'VideoWriter',
    'describe_unreadable',
    'feature_store',
    'id_to_rgb',
    'image_size',
    'natural_key',
    'original_frames',
    'atomic_write',
    'replace_path',
    'open_frames',
    'read_image',
    'read_pixels',
    'short_edge_size',
    'transform_frames',
    'write_json',
]
