"""What a per-frame detector remembers of the objects of a video."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects found in one frame, in descending order of score.

    Attributes:
        boxes: Boxes (n, 4) as x1, y1, x2, y2 in pixels of the processed frame.
        labels: Class (n,) int64 of each, things only.
        scores: Class probability (n,).
        masks: Mask probabilities (n, h, w) at a quarter of the size; None if no associator needs them.
        embeds: Appearance (n, C); None without a track head.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor | None = None
    embeds: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class TrackMemory:
    """Tracks of the frames processed so far. The number and the class of a track never change.

    Attributes:
        numbers: Number (M,) int64 of each track.
        labels: Class (M,) int64.
        boxes: Latest box (M, 4).
        masks: Latest mask (M, h, w), moved along with the flow; None if the associator uses none.
        embeds: Latest appearance (M, C); None likewise.
        last_seen: Frame (M,) int64 of the latest detection.
        next_number: Number of the next new track.
    """

    numbers: Tensor
    labels: Tensor
    boxes: Tensor
    masks: Tensor | None
    embeds: Tensor | None
    last_seen: Tensor
    next_number: int


@dataclass(frozen=True, eq=False)
class VideoMemory:
    """What a model keeps between the frames of a video.

    Attributes:
        references: The latest frames, newest first, each a frame (3, H, W) uint8 and its feature pyramid.
        tracks: Memory of the associator; None before the first frame.
        num_frames: Number of processed frames.
    """

    references: tuple[tuple[Tensor, Any], ...]
    tracks: Any
    num_frames: int
