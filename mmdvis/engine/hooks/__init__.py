"""Hooks."""
from .bad_frames import BadFramesHook
from .class_count import ClassCountHook
from .stage_handover import StageHandoverHook

__all__ = ['BadFramesHook', 'ClassCountHook', 'StageHandoverHook']
