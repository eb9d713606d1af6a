"""Checkpoint files: reading them safely, converting other projects' weights, loading them into a model."""
from .loading import Handover, contradictions, hand_over, switches_of
from .reader import meta_of, read_checkpoint, state_dict_of

__all__ = ['Handover', 'contradictions', 'hand_over', 'meta_of', 'read_checkpoint', 'state_dict_of', 'switches_of']
