"""Checkpoint files: reading them safely, converting other projects' weights, loading them into a model."""

from .loading import LoadPlan, option_conflicts, plan_loading, trained_options
from .reader import meta_of, read_checkpoint, state_dict_of

__all__ = [
    'LoadPlan',
    'option_conflicts',
    'plan_loading',
    'meta_of',
    'read_checkpoint',
    'state_dict_of',
    'trained_options',
]
