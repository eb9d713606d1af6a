"""Results of videos for all tasks, their classes, and the protocol of the models that make them."""

from .class_info import ClassInfo
from .frame_result import FrameResult, SegmentedObject, lookup, map_objects, mask_object
from .result_cache import ResultCache
from .selection import label_dtype, labels_of, select_objects, shift_ids, void_label
from .video_results import (
    VideoDataSample,
    VideoInstances,
    VideoPanoptic,
    VideoResult,
    VideoSemantic,
    decode_mask,
    encode_mask,
)
from .video_segmenter import VideoSegmenter

__all__ = [
    'ClassInfo',
    'FrameResult',
    'ResultCache',
    'SegmentedObject',
    'VideoDataSample',
    'VideoInstances',
    'VideoPanoptic',
    'VideoResult',
    'VideoSegmenter',
    'VideoSemantic',
    'decode_mask',
    'encode_mask',
    'label_dtype',
    'labels_of',
    'lookup',
    'map_objects',
    'mask_object',
    'select_objects',
    'shift_ids',
    'void_label',
]
