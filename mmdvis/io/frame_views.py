"""Sources of frames that show another source in another way: resized, mirrored, read ahead."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from PIL import Image
from torch import Tensor

from mmdvis.checks import Size
from mmdvis.structures import FrameSource

from .arrays import frames_to_tensor


def short_edge_size(size: Size, short_edge: int, max_edge: int | None = None) -> Size:
    """The size whose short edge is ``short_edge``, unless the long one would pass ``max_edge`` (as detectron2 rounds)."""
    height, width = size
    scale = short_edge / min(height, width)
    if max_edge is not None and round(max(height, width) * scale, 6) > max_edge:
        scale = max_edge / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


class FrameView:
    """What all sources share that show the frames of another source in their own way."""

    def __init__(self, source: FrameSource) -> None:
        self.source, self.size, self.original, self.fps = source, source.size, source.original, source.fps

    @property
    def problems(self) -> dict[int, str]:
        """Of the source; see :class:`FileFrames`."""
        return getattr(self.source, 'problems', {})

    def __len__(self) -> int:
        return len(self.source)


class ResizedFrames(FrameView):
    """A source whose frames are resized on the host by Pillow's bilinear filter, as detectron2 does.

    Args:
        source: the frames.
        short_edge: wanted length of the short edge in pixels.
        max_edge: limit of the long edge.
    """

    def __init__(self, source: FrameSource, short_edge: int, max_edge: int | None = None) -> None:
        super().__init__(source)
        self.size = short_edge_size(source.size, short_edge, max_edge)

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W) at ``size``."""
        frames = self.source.read(start, stop)
        if tuple(frames.shape[-2:]) == self.size:
            return frames
        height, width = self.size
        return frames_to_tensor(
            [
                np.asarray(Image.fromarray(frame.permute(1, 2, 0).numpy()).resize((width, height), Image.BILINEAR))
                for frame in frames
            ]
        )


class PrefetchedFrames(FrameView):
    """A source that reads the next window of the same length while the caller works on this one."""

    def __init__(self, source: FrameSource) -> None:
        super().__init__(source)
        self.worker: ThreadPoolExecutor | None = None  # made at the first read, so that a source can be pickled
        self.pending: dict[tuple[int, int], Future] = {}

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W); starts to read the window behind it."""
        self.worker = self.worker or ThreadPoolExecutor(max_workers=1)
        ready = self.pending.pop((start, stop), None)
        for future in self.pending.values():
            future.cancel()
        self.pending.clear()
        frames = (ready or self.worker.submit(self.source.read, start, stop)).result()
        ahead = (stop, min(2 * stop - start, len(self)))
        if ahead[0] < ahead[1]:
            self.pending[ahead] = self.worker.submit(self.source.read, *ahead)
        return frames


class FlippedFrames(FrameView):
    """The frames of a source, mirrored from left to right."""

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        return self.source.read(start, stop).flip(-1)


def transform_frames(
    source: FrameSource, short_edge: int | None = None, max_edge: int | None = None, flip: bool = False
) -> FrameSource:
    """A source resized so that its short edge has a length (unless the long one would pass ``max_edge``), and mirrored."""
    shown = source if short_edge is None else ResizedFrames(source, short_edge, max_edge)
    return FlippedFrames(shown) if flip else shown


def original_frames(source: FrameSource) -> FrameSource:
    """The source that views such as :class:`ResizedFrames` were made from."""
    while isinstance(source, FrameView):
        source = source.source
    return source
