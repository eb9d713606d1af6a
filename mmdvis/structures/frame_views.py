"""Sources of frames that show another source in another way."""
from typing import Optional

from torch import Tensor

from .frame_source import FrameSource, FrameView, ResizedFrames


class FlippedFrames(FrameView):
    """The frames of a source, mirrored from left to right."""

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        return self.source.read(start, stop).flip(-1)


def view(source: FrameSource, short_edge: Optional[int] = None, max_edge: Optional[int] = None,
         flip: bool = False) -> FrameSource:
    """A source resized so that its short edge has a length (unless the long one would pass ``max_edge``), and mirrored."""
    shown = source if short_edge is None else ResizedFrames(source, short_edge, max_edge)
    return FlippedFrames(shown) if flip else shown
