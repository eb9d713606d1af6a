"""What a program that uses mmdvis calls."""

from .model import init_model
from .offline_video import OfflineVideo
from .optimize_for_inference import optimize_for_inference
from .segment_video import segment_video
from .video_stream import VideoStream

__all__ = ['OfflineVideo', 'VideoStream', 'init_model', 'segment_video', 'optimize_for_inference']
