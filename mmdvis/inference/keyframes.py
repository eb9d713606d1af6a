"""Full inference on some frames only; the results of the others are moved along the optical flow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdvis.io import CutDetector, LiveFrames, read_clips
from mmdvis.results import FrameResult, shift_ids
from mmdvis.structures import FrameSource

from .motion import estimate_motion, moved_result
from .video_stream import VideoStream

CONFIDENT = 0.5  # share of the pixels that must be visible in both frames


@dataclass(frozen=True, eq=False)
class FrameResults:
    """Results of consecutive frames.

    Attributes:
        results: Result of each frame.
    """

    results: Sequence[FrameResult]

    def frame(self, index: int) -> FrameResult:
        """The result of one frame."""
        return self.results[index]


class KeyframeStream:
    """Runs a :class:`VideoStream` on every n-th frame and moves its results to the frames between them.

    A frame also becomes a keyframe if a new scene begins, or if too few of its pixels, or of the pixels of an object,
    are visible in both frames: the optical flow there and back must agree, and the pixels must look alike. Results do
    not depend on later frames. Keyframes are processed one by one, so a refiner does not see its clip.

    Args:
        stream: New stream.
        keyframes: Distance n of the keyframes; 1 processes every frame.
        confidence: Share of the pixels in [0, 1], of the frame and of each object, that must be visible in both frames.

    Attributes:
        cuts: Frames that begin a new scene, of those processed so far.
        processed: Frames that were keyframes.

    Raises:
        ValueError: ``keyframes`` or ``confidence`` is out of range.
    """

    def __init__(self, stream: VideoStream, keyframes: int = 4, confidence: float = CONFIDENT) -> None:
        if keyframes < 1:
            raise ValueError(f'keyframes must be at least 1, the distance of keyframes, got {keyframes}')
        if not 0 <= confidence <= 1:
            raise ValueError(f'confidence must be from 0 to 1, got {confidence}')
        self.stream, self.distance, self.confidence = stream, keyframes, confidence
        self.detector = CutDetector()
        self.processed: list[int] = []
        self.key: tuple[np.ndarray, FrameResult] | None = None
        self.offset = self.largest = 0

    @property
    def model(self) -> Any:
        """The model."""
        return self.stream.model

    @property
    def cuts(self) -> list[int]:
        """Frames that begin a new scene."""
        return self.detector.cuts

    def step(self, image: np.ndarray) -> FrameResult:
        """Result of the next frame (H, W, 3) uint8 RGB."""
        number, is_cut = self.detector.count, self.detector.push(image)
        is_near = bool(self.processed) and number - self.processed[-1] < self.distance
        if self.key is not None and self.key[0].shape == image.shape and is_near and not is_cut:
            motion = estimate_motion(image, self.key[0])
            if motion.confidence(self.key[1]) >= self.confidence:
                return moved_result(self.key[1], motion)
        if is_cut and self.stream.on_cut == 'reset':
            self.stream.state, self.offset = None, self.largest
        frame = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        result = shift_ids(self.stream.push(frame[None]).frame(0), self.offset)
        self.largest = max([self.largest, *(segment.id for segment in result.objects)])
        self.key = image, result
        self.processed.append(number)
        return result

    def push(self, frames: Tensor) -> FrameResults:
        """Results of the next frames (t, 3, H, W) uint8 RGB."""
        return FrameResults([self.step(frame.permute(1, 2, 0).numpy()) for frame in frames])

    def frames(self, source: FrameSource | LiveFrames) -> Iterator[tuple[np.ndarray, FrameResult]]:
        """Yields the image (H, W, 3) uint8 RGB and result of each frame."""
        for clip in read_clips(source, 1):
            image = clip[0].permute(1, 2, 0).numpy()
            yield image, self.step(image)
