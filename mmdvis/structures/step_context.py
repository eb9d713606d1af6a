"""Training progress and random seeds passed to the loss."""

import zlib
from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class StepContext:
    """Training progress and seeds of one iteration, passed to every ``loss``.

    The random generators are derived from seed, rank and iteration, so a resumed run needs no saved generator state.

    Attributes:
        progress: Completed fraction of the run, in [0, 1]; 1.0 outside of a runner.
        seed: Random seed of the run.
        rank: Rank of the process.
        iteration: Index of the training iteration.
        scope: Prefix of the names of the generators; see :meth:`scoped`.
    """

    progress: float = 1.0
    seed: int = 0
    rank: int = 0
    iteration: int = 0
    scope: str = ''

    def scoped(self, name: str) -> 'StepContext':
        """A context whose generators are independent of those of this one."""
        return replace(self, scope=f'{self.scope}{name}.')

    def generator(self, name: str, device: str | torch.device = 'cpu') -> torch.Generator:
        """Creates a random generator.

        Args:
            name: Purpose of the generator; different names give independent random numbers.
            device: Device of the generator.
        """
        key = f'{self.seed}/{self.rank}/{self.iteration}/{self.scope}{name}'.encode()
        return torch.Generator(device=device).manual_seed(zlib.crc32(key) << 31 | zlib.adler32(key))
