"""The frozen data types that flow between the stages of a model, and the protocols of what they are made from."""

from .clip_targets import ClipTargets
from .frame_source import FrameSource
from .masks import AveragedMasks, FactoredMasks, FeatureStore, FlippedMasks, FrameSize, MapStore, MaskSource
from .queries import FrameQueries, TrackQueries, cat_time
from .results import Segment, VideoDataSample, VideoInstances, VideoPanoptic, VideoSemantic
from .step_context import StepContext
from .video_prediction import VideoPrediction
from .video_segmenter import STAGES
from .write_slice import write_slice

__all__ = [
    'STAGES',
    'AveragedMasks',
    'ClipTargets',
    'FactoredMasks',
    'FeatureStore',
    'FlippedMasks',
    'FrameQueries',
    'FrameSize',
    'FrameSource',
    'MapStore',
    'MaskSource',
    'Segment',
    'StepContext',
    'TrackQueries',
    'VideoDataSample',
    'VideoInstances',
    'VideoPanoptic',
    'VideoPrediction',
    'VideoSemantic',
    'cat_time',
    'write_slice',
]
