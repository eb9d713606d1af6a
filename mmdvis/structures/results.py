"""What a task makes of a video, and the sample that carries it through mmengine's loops."""

from dataclasses import dataclass

import numpy as np
from mmengine.structures import BaseDataElement
from torch import Tensor


class VideoDataSample(BaseDataElement):
    """Annotations and results of one video; what names it (``video_id``, ``frame_names``, ...) is meta information."""


@dataclass(frozen=True)
class Segment:
    """One panoptic segment of a video.

    Attributes:
        id: its value in the map, >= 1.
        row: the query it came from; of merged stuff, the first.
        label: contiguous class, things first.
        is_thing: whether it is a countable object.
        score: class probability in [0, 1].
    """

    id: int
    row: int
    label: int
    is_thing: bool
    score: float


@dataclass(frozen=True, eq=False)
class VideoPanoptic:
    """A map of segment ids and what they mean.

    Attributes:
        id_map (T, H, W): int32, 0 = void.
        segments: of the video; of a causal result, each as it stands in its last frame.
        by_frame: of a causal result, what was known in each frame.
    """

    id_map: Tensor
    segments: tuple[Segment, ...]
    by_frame: tuple[tuple[Segment, ...], ...] | None = None

    def segments_at(self, frame: int) -> list[Segment]:
        """The segments that have a pixel in a frame, by ascending id."""
        known = self.segments if self.by_frame is None else self.by_frame[frame]
        seen = set(self.id_map[frame].unique().tolist())
        return sorted((segment for segment in known if segment.id in seen), key=lambda segment: segment.id)

    def pack(self, sample: VideoDataSample) -> VideoDataSample:
        """A copy of ``sample`` that carries this result as ``pred_panoptic``."""
        return copy_with_field(sample, 'pred_panoptic', self)


@dataclass(frozen=True, eq=False)
class VideoInstances:
    """Instance results: the rows are sorted by falling score.

    Attributes:
        scores (N,), labels (N,), ids (N,): of each track.
        masks: N lists of T COCO run-length masks (dict of size and counts), empty ones where a track is not.
    """

    scores: Tensor
    labels: Tensor
    ids: Tensor
    masks: list[list[dict]]

    def pack(self, sample: VideoDataSample) -> VideoDataSample:
        """A copy of ``sample`` that carries this result as ``pred_instances``."""
        return copy_with_field(sample, 'pred_instances', self)


@dataclass(frozen=True, eq=False)
class VideoSemantic:
    """A map of contiguous classes (T, H, W)."""

    label_map: np.ndarray

    def pack(self, sample: VideoDataSample) -> VideoDataSample:
        """A copy of ``sample`` that carries this result as ``pred_semantic``."""
        return copy_with_field(sample, 'pred_semantic', self)


def copy_with_field(sample: VideoDataSample, name: str, result: object) -> VideoDataSample:
    """A copy of ``sample`` with the data field ``name``."""
    copy = sample.new()
    copy.set_field(result, name)
    return copy
