"""Reading and writing of frames, images, masks, videos and feature stores."""

from .arrays import ArrayFrames
from .atomic_write import atomic_write, replace_together, work_folder, write_json
from .audio_track import has_audio
from .background_writer import BackgroundWriter
from .disk_maps import DiskBackedMaps
from .feature_stores import STORES, MemoryNeed, feature_store
from .flow_files import FlowFiles, read_flow, read_flow_between, write_flow
from .frame_sources import FileFrames, open_frames
from .frame_views import (
    CountedFrames,
    FlippedFrames,
    FramesFrom,
    PrefetchedFrames,
    ResizedFrames,
    original_frames,
    short_edge_size,
    transform_frames,
)
from .images import IMAGE_SUFFIXES, describe_unreadable, image_size, natural_key, read_image, read_pixels
from .live_frames import LiveFrames, is_live, known_length, open_source, read_clips, source_name
from .panoptic_png import id_to_rgb
from .scene_cuts import CutDetector, split_at_cuts
from .tensor_cache import TensorCache
from .video_files import VideoFileFrames
from .video_writer import VideoWriter

__all__ = [
    'IMAGE_SUFFIXES',
    'STORES',
    'ArrayFrames',
    'CountedFrames',
    'CutDetector',
    'FileFrames',
    'FlippedFrames',
    'FlowFiles',
    'FramesFrom',
    'LiveFrames',
    'BackgroundWriter',
    'MemoryNeed',
    'PrefetchedFrames',
    'TensorCache',
    'ResizedFrames',
    'DiskBackedMaps',
    'VideoFileFrames',
    'VideoWriter',
    'describe_unreadable',
    'feature_store',
    'has_audio',
    'id_to_rgb',
    'image_size',
    'is_live',
    'known_length',
    'natural_key',
    'original_frames',
    'atomic_write',
    'replace_together',
    'open_frames',
    'open_source',
    'read_clips',
    'read_flow',
    'read_flow_between',
    'read_image',
    'read_pixels',
    'short_edge_size',
    'source_name',
    'split_at_cuts',
    'transform_frames',
    'work_folder',
    'write_flow',
    'write_json',
]
