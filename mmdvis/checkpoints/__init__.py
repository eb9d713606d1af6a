"""Checkpoint files: reading them safely, converting weights of other projects, loading them into a model."""

from .checkpoint import Checkpoint, checkpoint_format
from .loading import check_finite, checked_weights, load_weights, plan_loading, trained_options, with_trained_options
from .reader import meta_of, read_checkpoint, state_dict_of
from .stored_config import stored_config

__all__ = [
    'Checkpoint',
    'check_finite',
    'checked_weights',
    'checkpoint_format',
    'load_weights',
    'meta_of',
    'plan_loading',
    'read_checkpoint',
    'state_dict_of',
    'stored_config',
    'trained_options',
    'with_trained_options',
]
