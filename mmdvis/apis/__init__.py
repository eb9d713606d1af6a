"""The public API: models from checkpoints, online and offline segmentation, and writing results."""

from .frame_stream import FrameStream
from .inferencer import SegmentedVideo, VideoSegInferencer, load
from .model import init_model
from .offline_video import OfflineVideo
from .optimize_for_inference import optimize_for_inference
from .segment_video import segment_video
from .video_stream import VideoStream

__all__ = [
    'FrameStream',
    'OfflineVideo',
    'SegmentedVideo',
    'VideoSegInferencer',
    'VideoStream',
    'init_model',
    'load',
    'optimize_for_inference',
    'segment_video',
]
