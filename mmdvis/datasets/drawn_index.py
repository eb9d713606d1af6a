"""Indices that carry the seed of the random draws of their sample."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


class DrawnIndex(int):
    """Index of a sample, with the seed of its random draws.

    A sample then depends only on its index and the seed. The number of loader workers and processes, and a resumption
    of the run do not change it.

    Args:
        value: The index.
        seed: Numbers that determine the random draws.
    """

    seed: tuple[int, ...]

    def __new__(cls, value: int, seed: tuple[int, ...]) -> 'DrawnIndex':
        """Creates the index."""
        index = super().__new__(cls, value)
        index.seed = seed
        return index

    def __reduce__(self) -> tuple:
        return type(self), (int(self), self.seed)


@contextmanager
def seeded_draws(index: int) -> Iterator[None]:
    """Makes the random numbers of NumPy's global generator depend on the seed of an index; restores it at the end.

    Args:
        index: An index; without a seed, nothing is changed.
    """
    if not isinstance(index, DrawnIndex):
        yield
        return
    state = np.random.get_state()
    np.random.seed(np.random.SeedSequence(index.seed).generate_state(8))
    try:
        yield
    finally:
        np.random.set_state(state)
