"""The mask features of a whole video, which are what fills the memory: kept, kept in half precision, on disk, or made again."""

import tempfile
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mmdvis.checks import check_choice
from mmdvis.structures import FrameSource
from mmdvis.structures.masks import FeatureStore

BLOCK_BYTES = 1 << 27  # bytes of memory that are taken at once, and touched as they are filled
STORES = ('exact', 'memory', 'disk', 'recompute')


def to_half(features: Tensor) -> Tensor:
    """Features in half precision; those that have it already are left as they are."""
    return features.half() if features.dtype in (torch.float32, torch.float64) else features


class MemoryFeatures:
    """Features in memory, where they are made, in large blocks: small ones between other tensors would leave holes.

    Args:
        exact: keep their precision; else float32 becomes float16, a rounding by 2^-11 of each number.
    """

    def __init__(self, exact: bool = True) -> None:
        self.exact = exact
        self.blocks: list[Tensor] = []
        self.filled = 0  # frames in the last block

    def append(self, features: Tensor) -> None:
        """See :class:`FeatureStore`."""
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
    """Features in half precision in a nameless file, which is gone when the store is; one buffer serves all frames.

    Args:
        folder: where; None: the system's folder for temporary files.

    Raises:
        OSError: the disk is full.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.file = tempfile.TemporaryFile(dir=folder, buffering=0)
        self.buffer: Tensor | None = None
        self.device, self.frames = torch.device('cpu'), 0

    def append(self, features: Tensor) -> None:
        """See :class:`FeatureStore`."""
        self.device = features.device
        for frame in features:
            if self.buffer is None:
                self.buffer = torch.empty(frame.shape, dtype=to_half(frame).dtype)
            self.buffer.copy_(frame)
            self.transfer(self.frames, self.file.write)
            self.frames += 1

    def __getitem__(self, frame: int) -> Tensor:
        self.transfer(frame, self.file.readinto)
        return self.buffer.to(self.device, copy=True)

    def transfer(self, frame: int, move: Callable[[memoryview], int]) -> None:
        """Moves the bytes of a frame between the buffer and its place in the file."""
        rest = memoryview(self.buffer.view(torch.int16).numpy()).cast('B')
        self.file.seek(frame * len(rest))
        while len(rest):
            moved = move(rest)
            if not moved:
                raise IndexError(f'frame {frame} is not in the store, which has {self.frames}')
            rest = rest[moved:]


class RecomputedFeatures:
    """Nothing is kept: a frame that is asked for goes through the model once more.

    Args:
        source: the video.
        compute: frames (1, 3, H, W) uint8 -> features (1, M, h, w).
    """

    def __init__(self, source: FrameSource, compute: Callable[[Tensor], Tensor]) -> None:
        self.source, self.compute = source, compute
        self.last: tuple[int, Tensor] | None = None

    def append(self, features: Tensor) -> None:
        """Forgets them."""

    def __getitem__(self, frame: int) -> Tensor:
        if self.last is None or self.last[0] != frame:
            self.last = frame, self.compute(self.source.read(frame, frame + 1))[0]
        return self.last[1]


def feature_store(kind: str, source: FrameSource, compute: Callable[[Tensor], Tensor]) -> FeatureStore:
    """The store of a video.

    Args:
        kind: one of ``STORES``: ``'exact'``: kept as they are, ``'memory'``: kept in half precision, ``'disk'``: so, in a file,
            ``'recompute'``: made again when a frame's masks are wanted, by backbone and pixel decoder.
        source, compute: see :class:`RecomputedFeatures`.

    Raises:
        ValueError: there is no such kind.
    """
    check_choice('store', kind, STORES)
    if kind == 'recompute':
        return RecomputedFeatures(source, compute)
    return DiskFeatures() if kind == 'disk' else MemoryFeatures(exact=kind == 'exact')


class MemoryNeed(NamedTuple):
    """Bytes that a frame of an offline video adds.

    Attributes:
        queries: what every store needs: 4 Q (5 C + 2 M + K + 1), the tracks, the refined tracks, and two copies of the
            queries while they are refined; in half precision 2 M + K + 1 count half.
        features: 2 M h w, for a store that keeps them in half precision.
        output: H W, one number for each pixel of the result.
    """

    queries: int
    features: int
    output: int

    def choose(self, frames: int, limit: int, disk: int) -> str:
        """The store for a video of so many frames.

        Args:
            frames: of the video.
            limit: bytes of memory that it may add.
            disk: bytes that are free for temporary files.

        Raises:
            ValueError: the queries alone are more than the limit.
        """
        if frames * self.queries > limit:
            raise ValueError(
                f'{frames} frames need {frames * self.queries / 2**20:.0f} MB for their queries alone '
                f'({self.queries} bytes each), more than the {limit / 2**20:.0f} MB allowed; allow more, or '
                'segment the video as a stream of clips'
            )
        if frames * (self.queries + self.features) <= limit:
            return 'memory'
        return 'disk' if frames * (self.features + self.output) <= disk else 'recompute'
