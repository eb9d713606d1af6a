"""Limits of the time that processes and data loader workers wait for each other."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from mmengine.config import Config
from torch.distributed import is_initialized

from mmdvis.errors import HungProcessError

DEFAULT_TIMEOUT = 1800  # seconds
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def time_limit(config: Config) -> int:
    """Seconds that processes and data loader workers wait for each other: ``env_cfg.dist_cfg.timeout``."""
    return int(((config.get('env_cfg') or {}).get('dist_cfg') or {}).get('timeout') or DEFAULT_TIMEOUT)


def group_timeout(config: Config) -> timedelta:
    """The time limit in the form that process groups need."""
    return timedelta(seconds=time_limit(config))


def limit_waiting(config: Config) -> None:
    """Gives the data loaders with workers the time limit of the process group, so that a hung worker ends the run.

    Args:
        config: Config, modified in place.
    """
    for name in LOADERS:
        loader = config.get(name)
        if loader and loader.get('num_workers'):
            loader.setdefault('timeout', time_limit(config))


@contextmanager
def report_hanging(config: Config) -> Iterator[None]:
    """Turns the errors of torch for exceeded time limits into one sentence.

    Args:
        config: Config of the run.

    Raises:
        HungProcessError: If a process or data loader worker did not answer in time.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        is_worker = text.startswith('DataLoader timed out')
        if not is_worker and not (is_initialized() and re.search(r'Timed out waiting|timed out after', text)):
            raise
        who = 'a data loader worker' if is_worker else 'another process'
        raise HungProcessError(
            f'{who} has not answered for {time_limit(config)} seconds (env_cfg.dist_cfg.timeout), so the run was '
            'ended; check that it is not stopped and that its disk answers. A training goes on with --resume'
        ) from error
