"""What the writers of result files know of a video."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmdvis.checks import Size
from mmdvis.results import ClassInfo, FrameResult


@dataclass(frozen=True)
class VideoInfo:
    """A video whose results are written.

    Attributes:
        name: Name of the video.
        classes: Classes of the model.
        size: (height, width) of the frames.
        fps: Frames per second; of videos with a variable frame rate, their mean.
        times: Time of each frame in seconds from the first, for videos with a variable frame rate; else None. Those of
            a live video grow while it is read.
        audio: Path of the file whose sound is copied; None for a silent video.
        is_live: Whether the video has no known end.
        drawing: Options of :class:`mmdvis.visualization.ResultVisualizer`.
    """

    name: str
    classes: ClassInfo
    size: Size
    fps: float
    times: Sequence[float] | None = None
    audio: Path | None = None
    is_live: bool = False
    drawing: dict[str, Any] = field(default_factory=dict)

    def time(self, index: int) -> float:
        """Time of a frame in seconds from the first."""
        return index / self.fps if self.times is None else float(self.times[index])

    def variable_time(self, index: int) -> float | None:
        """Time of a frame if the frame rate is variable, else None."""
        return None if self.times is None else float(self.times[index])


def variable_times(times: Sequence[float] | None, fps: float) -> Sequence[float] | None:
    """The times of frames if one of them is off a constant frame rate by more than half a frame, else None."""
    if times is None or len(times) < 2:
        return None
    deviation = np.abs(np.asarray(times) - np.arange(len(times)) / fps).max()
    return times if deviation > 0.5 / fps else None


class ResultFile(Protocol):
    """One kind of result. It writes into a temporary folder, which is moved to its place at the end."""

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Adds the next frame: its picture (H, W, 3) uint8 RGB and its result."""

    def close(self, is_complete: bool) -> None:
        """Finishes the files; after an error (``is_complete`` is false), only cleans up."""
