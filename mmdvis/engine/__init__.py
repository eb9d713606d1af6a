"""Training and test runs."""
from . import hooks, optimizers
from .runner import VideoRunner

__all__ = ['VideoRunner', 'hooks', 'optimizers']
