"""Which frames of a video make a training clip."""

import numpy as np
from mmcv.transforms import BaseTransform

from mmdvis.registry import TRANSFORMS


def consecutive_frames(length: int, num_frames: int, start: int) -> list[int]:
    """``num_frames`` frames from ``start`` on; of a video that is too short, all frames."""
    return list(range(start, min(start + num_frames, length)))


def repeat_frames(frames: list[int], num_frames: int, draws: np.ndarray) -> list[int]:
    """Repeats frames until there are ``num_frames``, in the order of time; ``draws`` in [0, 1) say which."""
    missing = num_frames - len(frames)
    return sorted(frames + [frames[int(draw * len(frames))] for draw in draws[:missing]])


@TRANSFORMS.register_module()
class SampleClip(BaseTransform):
    """Chooses the frames of a clip (``frame_indices``).

    Args:
        num_frames: T.
        frame_range: None: consecutive frames, every start equally likely, the last included. Else a reference frame and
            T - 1 others at most so far from it, in the order of time.
        reverse: probability that a consecutive clip runs backwards.
    """

    def __init__(self, num_frames: int, frame_range: int | None = None, reverse: float = 0.0) -> None:
        if num_frames < 1:
            raise ValueError(f'a clip needs at least one frame, got num_frames={num_frames}')
        if frame_range is not None and frame_range < 1 < num_frames:
            raise ValueError(f'frame_range must be at least 1, got {frame_range}; None means consecutive frames')
        self.num_frames, self.frame_range, self.reverse = num_frames, frame_range, reverse

    def transform(self, results: dict) -> dict:
        """Adds ``frame_indices``."""
        length = len(results['frames'])
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
        """Whether the frames of a clip follow each other."""
        return self.frame_range is None or 2 * self.frame_range + 1 == self.num_frames

    def around(self, length: int) -> list[int]:
        """A reference frame and others near it, as many as there are, sorted."""
        reference = np.random.randint(length)
        low, high = max(reference - self.frame_range, 0), min(reference + self.frame_range, length - 1)
        near = [frame for frame in range(low, high + 1) if frame != reference]
        others = np.random.permutation(near)[: self.num_frames - 1]
        return sorted([reference, *(int(frame) for frame in others)])
