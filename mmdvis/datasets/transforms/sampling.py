"""Sampling of the frames of a training clip."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmdvis.checks import check_choice
from mmdvis.registry import TRANSFORMS


def consecutive_frames(length: int, num_frames: int, start: int) -> list[int]:
    """Indices of ``num_frames`` consecutive frames from ``start``, fewer if the video ends earlier."""
    return list(range(start, min(start + num_frames, length)))


def repeat_frames(frames: list[int], num_frames: int, draws: np.ndarray) -> list[int]:
    """Repeat random frames up to ``num_frames`` frames, in ascending order.

    Args:
        frames: Frame indices.
        num_frames: Number of frames to return.
        draws: Random numbers in [0, 1) that select the repeated frames, at least one per missing frame.
    """
    missing = num_frames - len(frames)
    return sorted(frames + [frames[int(draw * len(frames))] for draw in draws[:missing]])


@TRANSFORMS.register_module()
class SampleClip(BaseTransform):
    """Samples the frames of a clip (``frame_indices``).

    Args:
        num_frames: Number of frames T of the clip.
        frame_range: Maximum distance of the T - 1 other frames from a random reference frame; the clip is in temporal
            order. None samples consecutive frames with a uniformly distributed start.
        reverse: Probability of reversing a clip of consecutive frames.
        order: ``'time'``; or ``'key_first'``: a key frame comes first, and the others follow in random order. If there
            are too few others, some are repeated; without any, the key frame is. The key frame is one of the
            ``key_frames`` of the video, if it has any, else a random one.

    Raises:
        ValueError: ``num_frames`` or ``frame_range`` is less than 1, or ``order`` is unknown.
    """

    def __init__(
        self, num_frames: int, frame_range: int | None = None, reverse: float = 0.0, order: str = 'time'
    ) -> None:
        check_choice('order', order, ('time', 'key_first'))
        if order == 'key_first' and frame_range is None:
            raise ValueError("order='key_first' needs a frame_range, the largest distance from the key frame")
        if num_frames < 1:
            raise ValueError(f'a clip needs at least one frame, got num_frames={num_frames}')
        if frame_range is not None and frame_range < 1 < num_frames:
            raise ValueError(f'frame_range must be at least 1, got {frame_range}; None means consecutive frames')
        self.num_frames, self.frame_range, self.reverse, self.order = num_frames, frame_range, reverse, order

    def transform(self, results: dict) -> dict:
        """Add ``frame_indices``."""
        length = len(results['frames'])
        if self.order == 'key_first':
            return dict(results, frame_indices=self.key_first(length, results.get('key_frames')))
        if self.is_consecutive:
            start = np.random.randint(max(length - self.num_frames, 0) + 1)
            frames = consecutive_frames(length, self.num_frames, start)
        else:
            frames = self.around(length)
        frames = repeat_frames(frames, self.num_frames, np.random.rand(self.num_frames))
        if self.reverse and np.random.rand() < self.reverse and self.is_consecutive:
            frames = frames[::-1]
        return dict(results, frame_indices=frames)

    @property
    def is_consecutive(self) -> bool:
        """Whether the clips have consecutive frames."""
        return self.frame_range is None or 2 * self.frame_range + 1 == self.num_frames

    def key_first(self, length: int, key_frames: Sequence[int] | None = None) -> list[int]:
        """A random key frame and T - 1 other frames within ``frame_range`` of it, in random order.

        Args:
            length: Number of frames of the video.
            key_frames: Frames that can be the key frame; None: all.
        """
        key = np.random.randint(length) if key_frames is None else key_frames[np.random.randint(len(key_frames))]
        low, high = max(key - self.frame_range, 0), min(key + self.frame_range, length - 1)
        near = [frame for frame in range(low, high + 1) if frame != key] or [key]
        others = [int(frame) for frame in np.random.permutation(near)[: self.num_frames - 1]]
        missing = self.num_frames - 1 - len(others)
        return [key, *others, *(int(frame) for frame in np.random.choice(others or [key], missing))]

    def around(self, length: int) -> list[int]:
        """Sorted random reference frame and up to T - 1 other frames within ``frame_range`` of it."""
        reference = np.random.randint(length)
        low, high = max(reference - self.frame_range, 0), min(reference + self.frame_range, length - 1)
        near = [frame for frame in range(low, high + 1) if frame != reference]
        others = np.random.permutation(near)[: self.num_frames - 1]
        return sorted([reference, *(int(frame) for frame in others)])
