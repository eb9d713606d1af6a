"""Frozen data types that flow between the stages of a model, and the protocols they are used through."""

from .class_info import ClassInfo
from .clip_targets import ClipTargets
from .frame_result import FrameResult, SegmentedObject, lookup
from .frame_source import FrameSource
from .masks import AveragedMasks, FactoredMasks, FeatureStore, FlippedMasks, FrameMaps, FrameSize, MapStore, MaskSource
from .queries import FrameQueries, TrackQueries, cat_time
from .results import Segment, VideoDataSample, VideoInstances, VideoPanoptic, VideoResult, VideoSemantic, encode_mask
from .step_context import StepContext
from .video_prediction import VideoPrediction
from .video_segmenter import STAGES, VideoSegmenter
from .write_slice import write_slice

__all__ = [
    'encode_mask',
    'lookup',
    'STAGES',
    'AveragedMasks',
    'ClassInfo',
    'ClipTargets',
    'FactoredMasks',
    'FeatureStore',
    'FlippedMasks',
    'FrameQueries',
    'FrameResult',
    'FrameSize',
    'FrameSource',
    'FrameMaps',
    'MapStore',
    'MaskSource',
    'Segment',
    'SegmentedObject',
    'StepContext',
    'TrackQueries',
    'VideoDataSample',
    'VideoInstances',
    'VideoPanoptic',
    'VideoPrediction',
    'VideoResult',
    'VideoSegmenter',
    'VideoSemantic',
    'cat_time',
    'write_slice',
]
