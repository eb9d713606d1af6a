"""Stores for the mask features of a whole video, which dominate its memory use.

Features are kept in memory at full or half precision, kept on disk at half precision, or recomputed on access.
"""

import tempfile
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mmdvis.checks import check_choice
from mmdvis.structures import FrameSource
from mmdvis.structures.masks import FeatureStore

BLOCK_BYTES = 1 << 27  # bytes allocated at once
STORES = ('exact', 'memory', 'disk', 'recompute')


def to_half(features: Tensor) -> Tensor:
    """Converts float32 and float64 features to half precision; other types are returned unchanged."""
    return features.half() if features.dtype in (torch.float32, torch.float64) else features


class MemoryFeatures:
    """Features in memory on their device, in large blocks to avoid memory fragmentation.

    Args:
        exact: Whether to keep the precision; otherwise float32 is rounded to float16 (relative error up to 2^-11).
    """

    def __init__(self, exact: bool = True) -> None:
        self.exact = exact
        self.blocks: list[Tensor] = []
        self.filled = 0  # number of frames in the last block

    def append(self, features: Tensor) -> None:
        """Appends features (t, M, h, w); see :class:`FeatureStore`."""
        for frame in features if self.exact else to_half(features):
            if not self.blocks or self.filled == len(self.blocks[-1]):
                frames = max(1, BLOCK_BYTES // max(frame.numel() * frame.element_size(), 1))
                layout = frame[None].is_contiguous(memory_format=torch.channels_last)
                self.blocks.append(
                    torch.empty(
                        (frames, *frame.shape),
                        dtype=frame.dtype,
                        device=frame.device,
                        memory_format=torch.channels_last if layout else torch.contiguous_format,
                    )
                )
                self.filled = 0
            self.blocks[-1][self.filled] = frame
            self.filled += 1

    def __getitem__(self, frame: int) -> Tensor:
        return self.blocks[frame // len(self.blocks[0])][frame % len(self.blocks[0])]


class DiskFeatures:
    """Features at half precision in an unnamed temporary file, which is deleted with the store.

    One buffer is shared by all frames.

    Args:
        folder: Folder of the file; None: the system's folder for temporary files.

    Raises:
        OSError: The disk is full.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.file = tempfile.TemporaryFile(dir=folder, buffering=0)
        self.buffer = torch.empty(0)
        self.device, self.frames = torch.device('cpu'), 0

    def append(self, features: Tensor) -> None:
        """Appends features (t, M, h, w); see :class:`FeatureStore`."""
        self.device = features.device
        for frame in features:
            if not self.frames:
                self.buffer = torch.empty(frame.shape, dtype=to_half(frame).dtype)
            self.buffer.copy_(frame)
            self.transfer(self.frames, self.file.write)
            self.frames += 1

    def __getitem__(self, frame: int) -> Tensor:
        self.transfer(frame, self.file.readinto)
        return self.buffer.to(self.device, copy=True)

    def transfer(self, frame: int, move: Callable[[memoryview], int]) -> None:
        """Moves the bytes of a frame between the buffer and the file.

        Args:
            frame: Index of the frame.
            move: Reads into or writes from a buffer; returns the number of bytes.

        Raises:
            IndexError: The frame is not in the store.
        """
        remaining = memoryview(self.buffer.view(torch.int16).numpy().data).cast('B')
        self.file.seek(frame * len(remaining))
        while len(remaining):
            moved = move(remaining)
            if not moved:
                raise IndexError(f'frame {frame} is not in the store, which has {self.frames} frames')
            remaining = remaining[moved:]


class RecomputedFeatures:
    """Store that keeps no features and recomputes them on access.

    Only the features of the last frame that was accessed are cached.

    Args:
        source: Frames of the video.
        compute: Function that maps frames (1, 3, H, W) uint8 to features (1, M, h, w).
    """

    def __init__(self, source: FrameSource, compute: Callable[[Tensor], Tensor]) -> None:
        self.source, self.compute = source, compute
        self.last: tuple[int, Tensor] | None = None

    def append(self, features: Tensor) -> None:
        """Ignores the features."""

    def __getitem__(self, frame: int) -> Tensor:
        if self.last is None or self.last[0] != frame:
            self.last = frame, self.compute(self.source.read(frame, frame + 1))[0]
        return self.last[1]


def feature_store(kind: str, source: FrameSource, compute: Callable[[Tensor], Tensor]) -> FeatureStore:
    """Creates the feature store of a video.

    Args:
        kind: One of ``STORES``. ``'exact'``: in memory at full precision. ``'memory'``: in memory at half precision.
            ``'disk'``: in a file at half precision. ``'recompute'``: recomputed by the segmenter when the masks of
            a frame are needed; not possible with a segmenter that has a state.
        source: See :class:`RecomputedFeatures`.
        compute: See :class:`RecomputedFeatures`.

    Raises:
        ValueError: ``kind`` is not one of ``STORES``.
    """
    check_choice('store', kind, STORES)
    if kind == 'recompute':
        return RecomputedFeatures(source, compute)
    return DiskFeatures() if kind == 'disk' else MemoryFeatures(exact=kind == 'exact')


class MemoryNeed(NamedTuple):
    """Bytes per frame needed by an offline video.

    Attributes:
        queries: Queries, needed by every store: 4 Q (5 C + 2 M + K + 1) for the tracks, the refined tracks, and two
            copies of the queries during refinement; in half precision 2 M + K + 1 counts half.
        features: Features at half precision: 2 M h w.
        output: Result: H W, one byte per pixel.
    """

    queries: int
    features: int
    output: int

    def choose(self, frames: int, limit: int, disk: int, can_recompute: bool = True) -> str:
        """Chooses the store for a video.

        Args:
            frames: Number of frames of the video.
            limit: Memory in bytes that the video may use.
            disk: Free bytes for temporary files.
            can_recompute: Whether the features of a frame can be computed again on their own.

        Raises:
            ValueError: The queries alone exceed the limit, or no store is possible.
        """
        if frames * self.queries > limit:
            raise ValueError(
                f'{frames} frames need {frames * self.queries / 2**20:.0f} MB for their queries alone '
                f'({self.queries} bytes per frame), more than the {limit / 2**20:.0f} MB allowed; increase '
                'the limit, or segment the video as a stream of clips'
            )
        if frames * (self.queries + self.features) <= limit:
            return 'memory'
        needed = frames * (self.features + self.output)
        if needed > disk and not can_recompute:
            raise ValueError(
                f'{frames} frames need {frames * (self.queries + self.features) / 2**20:.0f} MB of memory, with '
                f'{limit / 2**20:.0f} MB allowed, or {needed / 2**20:.0f} MB on disk, with {disk / 2**20:.0f} MB free; '
                'this model cannot compute mask features again, so increase the limit, free disk space, or segment '
                'the video as a stream of clips'
            )
        return 'disk' if needed <= disk else 'recompute'
