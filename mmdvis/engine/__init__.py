"""Training and test runs."""

from . import hooks, optimizers
from .runner import VideoRunner
from .sharded import ShardedRunner, ShardedStrategy
from .train_loop import VideoTrainLoop

__all__ = ['ShardedRunner', 'ShardedStrategy', 'VideoRunner', 'VideoTrainLoop', 'hooks', 'optimizers']
