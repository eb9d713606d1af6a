"""The public API: models by name, videos with their objects, and writing results."""

from mmdvis.inference import FrameStream, OfflineVideo, VideoStream, init_model, optimize_for_inference

from .inferencer import VideoSegInferencer, load
from .segment_video import segment_video
from .segmented_video import SegmentedVideo

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
