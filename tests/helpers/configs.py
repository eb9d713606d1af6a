"""Configs of the repository, each read from disk only once."""

import copy
import functools

from mmengine.config import Config


@functools.cache
def read(path):
    """Return a config, which must not be changed."""
    return Config.fromfile(path)


def load_config(path):
    """Return a copy of a config, which may be changed."""
    return copy.deepcopy(read(path))
