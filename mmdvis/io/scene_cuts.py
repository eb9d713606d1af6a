"""Detects cuts between the scenes of a video from small thumbnails."""

from collections.abc import Iterable, Iterator

import numpy as np
from torch import Tensor

THUMBNAIL = 32  # pixels of the longer edge
BINS = 8  # of each colour channel
THRESHOLD = 0.45  # distance of two colour histograms in [0, 1] above which frames may belong to different scenes
RATIO = 3.0  # a cut must also exceed the recent distances by this factor


def histogram(frame: np.ndarray) -> np.ndarray:
    """Shares (BINS ** 3,) of the colours of a frame (H, W, 3) uint8, sampled on a grid."""
    step = max(1, max(frame.shape[:2]) // THUMBNAIL)
    pixels = frame[step // 2 :: step, step // 2 :: step].reshape(-1, 3).astype(np.int64) * BINS // 256
    codes = (pixels[:, 0] * BINS + pixels[:, 1]) * BINS + pixels[:, 2]
    return np.bincount(codes, minlength=BINS**3) / max(1, len(codes))


class CutDetector:
    """Compares the colours of each frame with those of the frame before.

    Attributes:
        cuts: Indices of the frames so far that begin a new scene.
    """

    def __init__(self) -> None:
        self.cuts: list[int] = []
        self.previous: np.ndarray | None = None
        self.usual, self.count = 0.0, 0

    def push(self, frame: np.ndarray) -> bool:
        """Whether the next frame (H, W, 3) uint8 begins a new scene."""
        current, index = histogram(frame), self.count
        self.count += 1
        previous, self.previous = self.previous, current
        if previous is None:
            return False
        distance = float(np.abs(current - previous).sum()) / 2
        if distance > max(THRESHOLD, RATIO * self.usual):
            self.cuts.append(index)
            return True
        self.usual = 0.9 * self.usual + 0.1 * distance
        return False


def split_at_cuts(clips: Iterable[Tensor], detector: CutDetector, divide: bool = True) -> Iterator[tuple[bool, Tensor]]:
    """Finds the clips in which a new scene begins, and divides them there.

    Args:
        clips: Frames (t, 3, H, W) uint8 of consecutive clips.
        detector: New detector, whose ``cuts`` are filled.
        divide: Whether to divide clips.

    Yields:
        Whether a scene begins with the clip, and the clip or a part of it.
    """
    for clip in clips:
        is_cut = [detector.push(frame.permute(1, 2, 0).numpy()) for frame in clip]
        starts = [0, *(t for t in range(1, len(clip)) if is_cut[t] and divide), len(clip)]
        for start, stop in zip(starts, starts[1:]):
            yield is_cut[start], clip[start:stop]
