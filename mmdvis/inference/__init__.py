"""Models for inference: built from a checkpoint, made faster, and applied to videos clip by clip or as a whole."""

from .export import DESCRIPTION, SUFFIXES, export_model
from .exported import load_exported
from .frame_stream import FrameStream
from .keyframes import KeyframeStream
from .model import init_model
from .offline_video import OfflineVideo, memory_need
from .optimize_for_inference import optimize_for_inference
from .video_stream import VideoStream

__all__ = [
    'DESCRIPTION',
    'SUFFIXES',
    'FrameStream',
    'KeyframeStream',
    'OfflineVideo',
    'VideoStream',
    'export_model',
    'init_model',
    'load_exported',
    'memory_need',
    'optimize_for_inference',
]
