"""Frames in memory, and helpers shared by all frame sources."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmdvis.checks import Size


def frames_to_tensor(frames: Sequence[np.ndarray]) -> Tensor:
    """Stacks (H, W, 3) arrays into a uint8 tensor (t, 3, H, W)."""
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()


def check_window(start: int, stop: int, length: int) -> None:
    """Raises IndexError unless 0 <= start < stop <= length."""
    if not 0 <= start < stop <= length:
        raise IndexError(f'frames [{start}, {stop}) are out of range for a video of {length} frames')


class ArrayFrames:
    """Frames in memory.

    Args:
        frames: RGB frames (T, 3, H, W) uint8.
        original: (height, width) of the results; None: the size of the frames.
        fps: Frames per second; None if unknown.

    Raises:
        ValueError: ``frames`` is not uint8 (T, 3, H, W).
    """

    def __init__(self, frames: Tensor, original: Size | None = None, fps: float | None = None) -> None:
        if frames.dtype != torch.uint8 or frames.dim() != 4 or frames.shape[1] != 3:
            raise ValueError(f'frames must be uint8 (T, 3, H, W), got {frames.dtype} {tuple(frames.shape)}')
        self.frames, self.fps = frames, fps
        self.size: Size = (frames.shape[-2], frames.shape[-1])
        self.original = original or self.size

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        check_window(start, stop, len(self))
        return self.frames[start:stop]
