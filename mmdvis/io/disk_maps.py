"""Maps of the frames of a video, in memory while they are small and on disk beyond."""

import os
import tempfile
import threading

import torch
from torch import Tensor

from mmdvis.checks import Size


class DiskBackedMaps:
    """Integer maps, kept in memory up to a limit and in an anonymous temporary file beyond it; reading is thread-safe.

    Args:
        limit: Limit in bytes.
    """

    def __init__(self, limit: int = 1 << 26) -> None:
        self.file = tempfile.SpooledTemporaryFile(max_size=limit)
        self.lock = threading.Lock()
        self.size: Size = (0, 0)
        self.dtype, self.number = torch.uint8, 0

    def append(self, values: Tensor) -> None:
        """Adds the map (H, W) of the next frame; all maps have one size and one integer type."""
        self.dtype, self.size, self.number = values.dtype, (values.shape[0], values.shape[1]), self.number + 1
        with self.lock:
            self.file.seek(0, os.SEEK_END)
            self.file.write(values.contiguous().cpu().numpy().tobytes())

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, frame: int) -> Tensor:
        if not 0 <= frame < self.number:
            raise IndexError(f'frame {frame} is not in the store, which has {self.number} frames')
        length = self.size[0] * self.size[1] * self.dtype.itemsize
        with self.lock:
            self.file.seek(frame * length)
            values = bytearray(self.file.read(length))
        return torch.frombuffer(values, dtype=self.dtype).view(self.size)
