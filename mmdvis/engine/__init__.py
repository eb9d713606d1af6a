"""Training and test runs."""

from . import hooks, optimizers
from .runner import VideoRunner
from .sharded import ShardedRunner, ShardedStrategy

__all__ = ['ShardedRunner', 'ShardedStrategy', 'VideoRunner', 'hooks', 'optimizers']
