"""Hooks."""
from .class_count import ClassCountHook
from .stage_handover import StageHandoverHook

__all__ = ['ClassCountHook', 'StageHandoverHook']
