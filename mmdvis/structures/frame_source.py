"""Protocol of a video that is read window by window."""

from typing import Protocol

from torch import Tensor

from mmdvis.checks import Size


class FrameSource(Protocol):
    """Video that is read window by window.

    Attributes:
        size: (height, width) of the frames returned by ``read``.
        original: (height, width) of the results.
        fps: Frames per second; None if unknown.
    """

    size: Size
    original: Size
    fps: float | None

    def __len__(self) -> int:
        """Number of frames."""

    def read(self, start: int, stop: int) -> Tensor:
        """Reads the frames [start, stop) as uint8 RGB (stop - start, 3, H, W) on the CPU."""
