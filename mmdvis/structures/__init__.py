"""Frozen data types that flow between the stages of a model, and the protocols they are used through."""

from .clip_targets import VOID, ClipTargets
from .flow_field import quarter_flow
from .frame_source import FrameSource
from .masks import (
    AveragedMasks,
    ExpandedFeatures,
    FactoredMasks,
    FeatureStore,
    FlippedMasks,
    FrameMaps,
    FrameSize,
    MapStore,
    MaskSource,
)
from .queries import FrameQueries, TrackQueries, cat_time
from .segment import Segment
from .stages import STAGES
from .step_context import StepContext
from .video_prediction import VideoPrediction
from .write_slice import write_slice

__all__ = [
    'STAGES',
    'VOID',
    'AveragedMasks',
    'ClipTargets',
    'ExpandedFeatures',
    'FactoredMasks',
    'FeatureStore',
    'FlippedMasks',
    'FrameQueries',
    'FrameSize',
    'FrameSource',
    'FrameMaps',
    'MapStore',
    'MaskSource',
    'Segment',
    'StepContext',
    'TrackQueries',
    'VideoPrediction',
    'cat_time',
    'quarter_flow',
    'write_slice',
]
