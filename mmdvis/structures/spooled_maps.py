"""Maps of a whole video, in memory as long as they are small."""
import os
import tempfile
from typing import List, Tuple

import torch
from torch import Tensor


class SpooledMaps:
    """Maps of small integers, in memory up to a limit and in a nameless file beyond it.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int = 1 << 28) -> None:
        self.file = tempfile.SpooledTemporaryFile(max_size=limit)
        self.shapes: List[Tuple[int, ...]] = []
        self.dtype = torch.uint8

    def append(self, values: Tensor) -> None:
        """A map (H, W) uint8 or int16, all of one size and type."""
        self.dtype = values.dtype
        self.shapes.append(tuple(values.shape))
        self.file.write(values.contiguous().cpu().numpy().tobytes())

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, frame: int) -> Tensor:
        shape, width = self.shapes[frame], self.dtype.itemsize
        size = shape[0] * shape[1] * width
        self.file.seek(frame * size)
        found = torch.frombuffer(bytearray(self.file.read(size)), dtype=self.dtype).view(shape)
        self.file.seek(0, os.SEEK_END)
        return found
