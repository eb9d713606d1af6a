"""Results of whole videos for the three tasks. All of them offer the members of :class:`VideoResult`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from pycocotools import mask as coco_mask
from torch import Tensor

from mmdvis.checks import Size
from mmdvis.structures import FrameMaps, Segment

from .class_info import ClassInfo
from .frame_result import FrameResult, map_objects, mask_object


class VideoDataSample(BaseDataElement):
    """Annotations and results of one video; identifiers (``video_id``, ``frame_names``, ...) are meta information."""


class VideoResult(Protocol):
    """What drawing, writing and the public API know of a result."""

    @property
    def classes(self) -> ClassInfo:
        """The classes of the model."""

    @property
    def num_frames(self) -> int:
        """Number of frames T."""

    def frame(self, index: int) -> FrameResult:
        """The result of one frame."""

    def pack(self, sample: VideoDataSample) -> VideoDataSample:
        """A copy of ``sample`` that carries this result."""


class PackedResult:
    """Base of results: they are handed to metrics and hooks as a field of a sample.

    Attributes:
        field: name of the field.
    """

    field: ClassVar[str]

    def after(self, warmup: int) -> 'PackedResult':
        """The result without its first ``warmup`` frames."""
        raise NotImplementedError

    def pack(self, sample: VideoDataSample) -> VideoDataSample:
        """A copy of ``sample`` that carries this result.

        The first ``warmup`` frames of the sample are left out; they are there to be referred to, not to be scored.
        """
        packed, warmup = sample.new(), sample.get('warmup', 0)
        if warmup:
            packed.set_metainfo(dict(frame_names=sample.frame_names[warmup:], warmup=0))
        packed.set_field(self.after(warmup) if warmup else self, self.field)
        return packed


class LazyMaps(PackedResult):
    """Base of results that are maps: they are read frame by frame, and stacked only when all are asked for.

    Attributes:
        maps: the map (H, W) of each frame, as one tensor (T, H, W) or as a store that reads one at a time.
    """

    maps: FrameMaps | Tensor

    @property
    def num_frames(self) -> int:
        """Number of frames T."""
        return len(self.maps)

    def stacked(self) -> Tensor:
        """The maps of all frames (T, H, W)."""
        if torch.is_tensor(self.maps):
            return self.maps
        return torch.stack([self.maps[index] for index in range(self.num_frames)])

    def __getstate__(self) -> dict[str, Any]:
        """Pickles the maps as one tensor, because a store may be an open file."""
        return dict(self.__dict__, maps=self.stacked())


@dataclass(frozen=True, eq=False)
class VideoPanoptic(LazyMaps):
    """Maps of segment ids, and the segments they stand for.

    Attributes:
        maps: ids (H, W) int32 of each frame, 0 is void; see :class:`LazyMaps`.
        segments: segments of the video; of a causal result, each as it is in its last frame.
        classes: the classes of the model.
        by_frame: of a causal result, the segments known in each frame.
    """

    maps: FrameMaps | Tensor
    segments: tuple[Segment, ...]
    classes: ClassInfo
    by_frame: tuple[tuple[Segment, ...], ...] | None = None

    field: ClassVar[str] = 'pred_panoptic'

    @property
    def id_map(self) -> Tensor:
        """Segment ids (T, H, W) int32 of all frames, 0 is void."""
        return self.stacked()

    def after(self, warmup: int) -> 'VideoPanoptic':
        """The result without its first ``warmup`` frames."""
        later = None if self.by_frame is None else self.by_frame[warmup:]
        return replace(self, maps=self.stacked()[warmup:], by_frame=later)

    def known_segments(self, index: int) -> tuple[Segment, ...]:
        """The segments of the video, or, of a causal result, those known in a frame."""
        return self.segments if self.by_frame is None else self.by_frame[index]

    def segments_at(self, index: int) -> list[Segment]:
        """The segments that have a pixel in a frame, by ascending id."""
        segments = self.known_segments(index)
        visible = set(self.maps[index].unique().tolist())
        return sorted((segment for segment in segments if segment.id in visible), key=lambda segment: segment.id)

    def frame(self, index: int) -> FrameResult:
        """The result of one frame."""
        ids = self.maps[index].numpy()
        entries = [
            dict(
                value=s.id, id=s.id, label=s.label, name=self.classes.names[s.label], score=s.score, is_thing=s.is_thing
            )
            for s in sorted(self.known_segments(index), key=lambda segment: segment.id)
        ]
        return FrameResult(map_objects(ids, entries), ids.shape, id_map=ids)


@dataclass(frozen=True, eq=False)
class VideoInstances(PackedResult):
    """Instance tracks, sorted by descending score.

    Attributes:
        scores (N,), labels (N,), ids (N,): of each track; a track may occur with several labels. Ids begin at 1.
        masks: N lists of T COCO run-length masks (dict of size and counts), empty where a track is not visible.
        classes: the classes of the model.
        num_frames: number of frames T.
        size: (height, width) of the masks.
        by_frame: of a causal result, the instances known in each frame, as results of one frame.
    """

    scores: Tensor
    labels: Tensor
    ids: Tensor
    masks: Sequence[Sequence[dict[str, Any]]]
    classes: ClassInfo
    num_frames: int
    size: Size
    by_frame: tuple['VideoInstances', ...] | None = None

    field: ClassVar[str] = 'pred_instances'

    def after(self, warmup: int) -> 'VideoInstances':
        """The result without its first ``warmup`` frames."""
        masks = [track[warmup:] for track in self.masks]
        later = None if self.by_frame is None else self.by_frame[warmup:]
        return replace(self, masks=masks, num_frames=self.num_frames - warmup, by_frame=later)

    def frame(self, index: int) -> FrameResult:
        """The result of one frame; a track that occurs with several labels is shown with its best one."""
        if self.by_frame is not None:
            return self.by_frame[index].frame(0)
        objects, shown = [], set()
        for score, label, number, track in zip(
            self.scores.tolist(), self.labels.tolist(), self.ids.tolist(), self.masks
        ):
            if number in shown:
                continue
            shown.add(number)
            visible = mask_object(
                decode_mask(track[index]),
                partial(decode_mask, track[index]),
                id=number,
                label=label,
                name=self.classes.names[label],
                score=score,
                is_thing=self.classes.is_thing[label],
            )
            if visible is not None:
                objects.append(visible)
        return FrameResult(tuple(objects), self.size)


@dataclass(frozen=True, eq=False)
class VideoSemantic(LazyMaps):
    """Maps of labels.

    Attributes:
        maps: labels (H, W) uint8 or uint16 of each frame; see :class:`LazyMaps`.
        classes: the classes of the model.
    """

    maps: FrameMaps | Tensor
    classes: ClassInfo

    field: ClassVar[str] = 'pred_semantic'

    def after(self, warmup: int) -> 'VideoSemantic':
        """The result without its first ``warmup`` frames."""
        return replace(self, maps=self.stacked()[warmup:])

    @property
    def label_map(self) -> np.ndarray:
        """Labels (T, H, W) of all frames."""
        return self.stacked().numpy()

    def frame(self, index: int) -> FrameResult:
        """The result of one frame: one object for each class that has a pixel; its id is the label."""
        labels = self.maps[index].numpy()
        entries = [
            dict(value=label, id=label, label=label, name=name, score=None, is_thing=is_thing)
            for label, (name, is_thing) in enumerate(zip(self.classes.names, self.classes.is_thing))
        ]
        return FrameResult(map_objects(labels, entries), labels.shape, label_map=labels)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """A mask (H, W) bool as a COCO run-length mask, whose counts are text."""
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(code, counts=code['counts'].decode())


def decode_mask(code: dict[str, Any]) -> np.ndarray:
    """A COCO run-length mask as (H, W) bool."""
    return coco_mask.decode(dict(code)).astype(bool)
