"""A video that arrives piece by piece. The only place that holds a state over time."""

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from mmdvis.io import ArrayFrames, transform_frames
from mmdvis.models.detectors import DVIS
from mmdvis.models.detectors.dvis import StreamState
from mmdvis.structures import FrameSource, Segment, VideoDataSample

Frame = tuple[np.ndarray, np.ndarray, list[Segment]]


class VideoStream:
    """Feeds frames to a model and keeps what it must remember of them, whose size does not depend on their number.

    Args:
        model: with a postprocessor.
        short_edge: length of the short edge the model sees; None keeps the size.
        max_edge: limit of the long edge.
    """

    def __init__(self, model: DVIS, short_edge: int | None = None, max_edge: int | None = None) -> None:
        self.model, self.short_edge, self.max_edge = model, short_edge, max_edge
        self.state: StreamState | None = None

    def push(self, frames: Tensor) -> VideoDataSample:
        """Results of the next frames, uint8 RGB (t, 3, H, W), at their size; identities go on from call to call.

        A model with a refiner refines each call's frames together; without one the results do not depend on how the frames
        are cut into calls.
        """
        if not len(frames):
            raise ValueError('a push needs at least one frame, got none')
        source = transform_frames(ArrayFrames(frames), self.short_edge, self.max_edge)
        prediction, self.state = self.model.stream(source, self.state)
        return self.model.postprocessor(prediction, VideoDataSample())

    def frames(self, source: FrameSource, clip_len: int) -> Iterator[Frame]:
        """Frame by frame: the picture (H, W, 3), its map of ids (H, W) and the segments that have a pixel in it.

        Args:
            source: the frames that come next.
            clip_len: frames of one push.
        """
        for start in range(0, len(source), clip_len):
            frames = source.read(start, min(start + clip_len, len(source)))
            result = self.push(frames).pred_panoptic
            for t, frame in enumerate(frames):
                yield frame.permute(1, 2, 0).numpy(), result.id_map[t].numpy(), result.segments_at(t)
