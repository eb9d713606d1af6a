"""Hooks."""
from .bad_frames import BadFramesHook
from .checkpoint_loading import StageHandoverHook
from .class_count import ClassCountHook

__all__ = ['BadFramesHook', 'ClassCountHook', 'StageHandoverHook']
