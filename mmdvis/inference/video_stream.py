"""Online segmentation of a video that arrives clip by clip."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdvis.checks import check_choice
from mmdvis.io import ArrayFrames, CutDetector, LiveFrames, read_clips, short_edge_size, split_at_cuts, transform_frames
from mmdvis.models.detectors import DVIS
from mmdvis.results import FrameResult, VideoResult, shift_ids
from mmdvis.structures import FrameSource

ON_CUT = ('continue', 'reset')


def processed_frames(model: DVIS, source: FrameSource, short_edge: int | None, max_edge: int | None) -> FrameSource:
    """Frames at the size that a model processes: the largest that fits, if it was exported for a fixed size.

    Args:
        model: The model.
        source: The frames.
        short_edge: Short edge in pixels; None keeps the size. Not used with a fixed size.
        max_edge: Limit of the long edge in pixels. Not used with a fixed size.
    """
    limit = getattr(model.data_preprocessor, 'size', None)
    if limit is None:
        return transform_frames(source, short_edge, max_edge)
    scale = min(limit[0] / source.size[0], limit[1] / source.size[1])
    edge = max(1, int(scale * min(source.size)))
    while edge > 1 and any(n > m for n, m in zip(short_edge_size(source.size, edge), limit)):
        edge -= 1
    return transform_frames(source, edge)


class VideoStream:
    """Feeds frames to a model and keeps the state between calls; its size does not depend on the number of frames.

    Args:
        model: a model with a postprocessor.
        short_edge: length of the short edge that the model processes; None keeps the size.
        max_edge: limit of the long edge.
        clip_len: number of frames that :meth:`frames` pushes at a time.
        on_cut: whether :meth:`frames` lets identities ``'continue'`` after a cut to another scene, or ``'reset'`` gives
            all objects new ids there.

    Attributes:
        cuts: frames that begin a new scene, of those that :meth:`frames` read.
    """

    def __init__(
        self,
        model: DVIS,
        short_edge: int | None = None,
        max_edge: int | None = None,
        clip_len: int = 10,
        on_cut: str = 'continue',
    ) -> None:
        if clip_len < 1:
            raise ValueError(f'clip_len must be at least 1 frame, got {clip_len}')
        check_choice('on_cut', on_cut, ON_CUT)
        self.on_cut = on_cut
        self.cuts: list[int] = []
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
        source = processed_frames(self.model, ArrayFrames(frames), self.short_edge, self.max_edge)
        with torch.no_grad():
            prediction, self.state = self.model.stream(source, self.state)
            return self.model.result(prediction)

    def frames(self, source: FrameSource | LiveFrames) -> Iterator[tuple[np.ndarray, FrameResult]]:
        """Yields the image (H, W, 3) uint8 RGB and result of each frame; tracking continues from earlier frames."""
        detector, offset, largest = CutDetector(), 0, 0
        self.cuts = detector.cuts
        for is_new_scene, frames in split_at_cuts(read_clips(source, self.clip_len), detector, self.on_cut == 'reset'):
            if is_new_scene and self.on_cut == 'reset':
                self.state, offset = None, largest
            result = self.push(frames)
            for t, frame in enumerate(frames):
                shifted = shift_ids(result.frame(t), offset)
                largest = max([largest, *(segment.id for segment in shifted.objects)])
                yield frame.permute(1, 2, 0).numpy(), shifted
