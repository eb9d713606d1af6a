"""Online segmentation of a video that arrives clip by clip."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdvis.io import ArrayFrames, transform_frames
from mmdvis.models.detectors import DVIS
from mmdvis.results import FrameResult, VideoResult
from mmdvis.structures import FrameSource


class VideoStream:
    """Feeds frames to a model and keeps the state between calls; its size does not depend on the number of frames.

    Args:
        model: a model with a postprocessor.
        short_edge: length of the short edge that the model processes; None keeps the size.
        max_edge: limit of the long edge.
        clip_len: number of frames that :meth:`frames` pushes at a time.
    """

    def __init__(
        self, model: DVIS, short_edge: int | None = None, max_edge: int | None = None, clip_len: int = 10
    ) -> None:
        if clip_len < 1:
            raise ValueError(f'clip_len must be at least 1 frame, got {clip_len}')
        self.model, self.short_edge, self.max_edge, self.clip_len = model, short_edge, max_edge, clip_len
        self.state: Any = None

    def push(self, frames: Tensor) -> VideoResult:
        """Segments the next frames; identities persist across calls.

        A model with a refiner refines the frames of each call together. Without a refiner, the results do not depend on
        the division of the video into calls.

        Args:
            frames: Frames (t, 3, H, W) uint8 RGB.

        Returns:
            Result of the frames, at their size.

        Raises:
            ValueError: If there are no frames.
        """
        if not len(frames):
            raise ValueError('a push needs at least one frame, got none')
        source = transform_frames(ArrayFrames(frames), self.short_edge, self.max_edge)
        with torch.no_grad():
            prediction, self.state = self.model.stream(source, self.state)
            return self.model.result(prediction)

    def frames(self, source: FrameSource) -> Iterator[tuple[np.ndarray, FrameResult]]:
        """Yields the picture (H, W, 3) uint8 RGB and the result of every frame of a video that continues the stream."""
        for start in range(0, len(source), self.clip_len):
            frames = source.read(start, min(start + self.clip_len, len(source)))
            result = self.push(frames)
            for t, frame in enumerate(frames):
                yield frame.permute(1, 2, 0).numpy(), result.frame(t)
