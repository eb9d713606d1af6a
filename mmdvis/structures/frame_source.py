"""The protocol of a video that is read window by window."""

from typing import Protocol

from torch import Tensor

from mmdvis.checks import Size


class FrameSource(Protocol):
    """A video that is read window by window.

    Attributes:
        size: (height, width) of the frames that ``read`` gives.
        original: (height, width) in which results are wanted.
        fps: frames in a second; None where nobody says.
    """

    size: Size
    original: Size
    fps: float | None

    def __len__(self) -> int:
        """The number of frames."""

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 RGB (stop - start, 3, H, W) on the host."""
