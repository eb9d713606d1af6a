"""Maps of a whole video, in memory as long as they are small."""

import os
import tempfile

import torch
from torch import Tensor

from mmdvis.checks import Size


class DiskBackedMaps:
    """Maps of small integers, in memory up to a limit and in a nameless file beyond it.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int = 1 << 26) -> None:
        self.file = tempfile.SpooledTemporaryFile(max_size=limit)
        self.size: Size = (0, 0)
        self.dtype, self.number = torch.uint8, 0

    def append(self, values: Tensor) -> None:
        """A map (H, W) uint8 or int16, all of one size and type."""
        self.dtype, self.size, self.number = values.dtype, tuple(values.shape), self.number + 1
        self.file.seek(0, os.SEEK_END)
        self.file.write(values.contiguous().cpu().numpy().tobytes())

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, frame: int) -> Tensor:
        length = self.size[0] * self.size[1] * self.dtype.itemsize
        self.file.seek(frame * length)
        return torch.frombuffer(bytearray(self.file.read(length)), dtype=self.dtype).view(self.size)
