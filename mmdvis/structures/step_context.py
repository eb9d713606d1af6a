"""What a training step may know besides its data: how far the run is, and where randomness comes from."""

import zlib
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class StepContext:
    """Schedule and randomness of one iteration, handed to every ``loss``.

    Attributes:
        progress: share of the run that is done, in [0, 1]; 1.0 outside a runner.
        seed, rank, iteration: what the generators are derived from, so that a resume needs no saved generator.
    """

    progress: float = 1.0
    seed: int = 0
    rank: int = 0
    iteration: int = 0

    def generator(self, name: str, device: str | torch.device = 'cpu') -> torch.Generator:
        """A fresh generator for the draws called ``name``; another name gives independent draws."""
        key = f'{self.seed}/{self.rank}/{self.iteration}/{name}'.encode()
        return torch.Generator(device=device).manual_seed(zlib.crc32(key) << 31 | zlib.adler32(key))
