"""The frozen types that flow between stages, and the readers of frames and checkpoints."""
from .checkpoint import CheckpointError, meta_of, read_checkpoint, state_dict_of
from .clip_targets import ClipTargets
from .feature_stores import STORES, FeatureStore, MemoryNeed, feature_store
from .frame_source import (ArrayFrames, FileFrames, FrameSource, PrefetchedFrames, ResizedFrames, VideoFileFrames,
                           open_frames, short_edge_size)
from .handover import STAGES, Handover, contradictions, hand_over, switches_of
from .image_files import IMAGE_SUFFIXES, DataError, fault_of, image_size, natural_key, read_image, read_pixels
from .masks import FactoredMasks, FrameSize, MaskSource
from .queries import FrameQueries, TrackQueries, cat_time
from .spooled_maps import SpooledMaps
from .step_context import StepContext
from .video_prediction import VideoPrediction
from .video_results import Segment, VideoDataSample, VideoInstances, VideoPanoptic, VideoSemantic, id_to_rgb

__all__ = [
    'IMAGE_SUFFIXES', 'STAGES', 'STORES', 'ArrayFrames', 'CheckpointError', 'ClipTargets', 'DataError', 'FactoredMasks',
    'FeatureStore', 'FileFrames', 'FrameQueries', 'FrameSize', 'FrameSource', 'Handover', 'MaskSource', 'MemoryNeed',
    'PrefetchedFrames', 'ResizedFrames', 'Segment', 'SpooledMaps', 'StepContext', 'TrackQueries', 'VideoDataSample',
    'VideoFileFrames', 'VideoInstances', 'VideoPanoptic', 'VideoPrediction', 'VideoSemantic', 'cat_time', 'contradictions',
    'fault_of', 'feature_store', 'hand_over', 'id_to_rgb', 'image_size', 'meta_of', 'natural_key', 'open_frames',
    'read_checkpoint', 'read_image', 'read_pixels', 'short_edge_size', 'state_dict_of', 'switches_of'
]
