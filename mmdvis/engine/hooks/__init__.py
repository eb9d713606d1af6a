"""Hooks of the runner."""

from .bad_frames import BadFramesHook
from .checkpoint_loading import CheckpointLoadingHook
from .class_count import ClassCountHook
from .frozen_cache import FrozenOutputCacheHook
from .safe_checkpoint import SafeCheckpointHook

__all__ = ['BadFramesHook', 'ClassCountHook', 'CheckpointLoadingHook', 'FrozenOutputCacheHook', 'SafeCheckpointHook']
