"""The frozen types that flow between stages, and the readers of frames and checkpoints."""
from .checkpoint import CheckpointError, meta_of, read_checkpoint, state_dict_of
from .clip_targets import ClipTargets
from .frame_source import (ArrayFrames, FileFrames, FrameSource, PrefetchedFrames, ResizedFrames, VideoFileFrames,
                           open_frames, read_image, short_edge_size)
from .handover import STAGES, Handover, contradictions, hand_over, switches_of
from .masks import FactoredMasks, FrameSize, MaskSource
from .queries import FrameQueries, TrackQueries, cat_time
from .step_context import StepContext
from .video_prediction import VideoPrediction
from .video_results import Segment, VideoDataSample, VideoInstances, VideoPanoptic, VideoSemantic, id_to_rgb

__all__ = [
    'STAGES', 'ArrayFrames', 'CheckpointError', 'ClipTargets', 'FactoredMasks', 'FileFrames', 'FrameQueries', 'FrameSize',
    'FrameSource', 'Handover',
    'MaskSource', 'PrefetchedFrames', 'ResizedFrames', 'Segment', 'StepContext', 'TrackQueries', 'VideoDataSample',
    'VideoFileFrames', 'VideoInstances', 'VideoPanoptic', 'VideoPrediction', 'VideoSemantic', 'cat_time',
    'contradictions', 'hand_over', 'id_to_rgb', 'meta_of', 'open_frames', 'read_checkpoint', 'read_image',
    'short_edge_size', 'state_dict_of', 'switches_of'
]
