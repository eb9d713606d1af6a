"""Frame sources that transform another source: resizing, flipping and prefetching."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from mmdvis.checks import Size
from mmdvis.structures import FrameSource

from .arrays import check_window, frames_to_tensor


def short_edge_size(size: Size, short_edge: int, max_edge: int | None = None) -> Size:
    """Size with the given short edge, reduced if the long edge would exceed ``max_edge``; rounded as in detectron2."""
    height, width = size
    scale = short_edge / min(height, width)
    if max_edge is not None and round(max(height, width) * scale, 6) > max_edge:
        scale = max_edge / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


class FrameView:
    """Base class of frame sources that transform the frames of another source."""

    def __init__(self, source: FrameSource) -> None:
        self.source, self.size, self.original, self.fps = source, source.size, source.original, source.fps

    @property
    def problems(self) -> dict[int, str]:
        """Problems of the source; see :class:`FileFrames`."""
        return getattr(self.source, 'problems', {})

    @property
    def times(self) -> Sequence[float] | None:
        """Times of the frames in seconds; see :class:`VideoFileFrames`."""
        return getattr(self.source, 'times', None)

    def __len__(self) -> int:
        return len(self.source)

    def close(self) -> None:
        """Closes the files of the source; reading opens them again."""
        getattr(self.source, 'close', lambda: None)()


class FramesFrom(FrameView):
    """The frames [start, stop) of another source."""

    def __init__(self, source: FrameSource, start: int, stop: int) -> None:
        super().__init__(source)
        self.start, self.stop = start, stop

    @property
    def problems(self) -> dict[int, str]:
        """Problems by frame index within this part; see :class:`FileFrames`."""
        return {k - self.start: text for k, text in super().problems.items() if self.start <= k < self.stop}

    @property
    def times(self) -> Sequence[float] | None:
        """Times of the frames in seconds, relative to the first frame of this part."""
        times = super().times
        return None if times is None else [time - times[self.start] for time in times[self.start : self.stop]]

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) of this part as uint8 (t, 3, H, W)."""
        check_window(start, stop, len(self))
        return self.source.read(self.start + start, self.start + stop)


class ResizedFrames(FrameView):
    """Source whose frames are resized on the CPU with Pillow's bilinear filter, as in detectron2.

    Args:
        source: Frames to resize.
        short_edge: Target length of the short edge in pixels.
        max_edge: Maximum length of the long edge in pixels.
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
                np.asarray(
                    Image.fromarray(frame.permute(1, 2, 0).numpy()).resize((width, height), Image.Resampling.BILINEAR)
                )
                for frame in frames
            ]
        )


class PrefetchedFrames(FrameView):
    """Source that reads the next window of the same length in the background."""

    def __init__(self, source: FrameSource) -> None:
        super().__init__(source)
        self.worker: ThreadPoolExecutor | None = None  # created at the first read, so that the source can be pickled
        self.pending: dict[tuple[int, int], Future] = {}

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W); starts reading the next window."""
        self.worker = self.worker or ThreadPoolExecutor(max_workers=1)
        prefetched = self.pending.pop((start, stop), None)
        for future in self.pending.values():
            future.cancel()
        self.pending.clear()
        frames = (prefetched or self.worker.submit(self.source.read, start, stop)).result()
        next_window = (stop, min(2 * stop - start, len(self)))
        if next_window[0] < next_window[1]:
            self.pending[next_window] = self.worker.submit(self.source.read, *next_window)
        return frames


class FlippedFrames(FrameView):
    """Source whose frames are flipped horizontally."""

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        return self.source.read(start, stop).flip(-1)


class CountedFrames(FrameView):
    """A source that advances a progress bar as it is read."""

    def __init__(self, source: FrameSource, bar: tqdm) -> None:
        super().__init__(source)
        self.bar = bar

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        self.bar.update(stop - start)
        return self.source.read(start, stop)


def transform_frames(
    source: FrameSource, short_edge: int | None = None, max_edge: int | None = None, flip: bool = False
) -> FrameSource:
    """Resizes and optionally flips the frames of a source.

    Args:
        source: Source of the frames.
        short_edge: Short edge in pixels after resizing; None keeps the size.
        max_edge: Limit of the long edge in pixels; None for no limit.
        flip: Whether to flip the frames horizontally.
    """
    view = source if short_edge is None else ResizedFrames(source, short_edge, max_edge)
    return FlippedFrames(view) if flip else view


def original_frames(source: FrameSource) -> FrameSource:
    """The source that views such as :class:`ResizedFrames` were made from; the range of :class:`FramesFrom` is kept."""
    if isinstance(source, FramesFrom):
        return FramesFrom(original_frames(source.source), source.start, source.stop)
    return original_frames(source.source) if isinstance(source, FrameView) else source
