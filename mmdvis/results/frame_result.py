"""The result of one frame, the same for panoptic, instance and semantic segmentation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from mmdvis.checks import Size

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class SegmentedObject:
    """One object or region in one frame.

    Attributes:
        id: identity, the same in every frame of the video.
        label: class in [0, K).
        name: name of the class.
        score: class probability in [0, 1]; None where the task has none (semantic segmentation).
        is_thing: whether it is a countable object.
        box: bounding box (x1, y1, x2, y2) in pixels; the right and bottom edges are exclusive.
        area: number of pixels.
        make_mask: makes the mask; use :attr:`mask`.
    """

    id: int
    label: int
    name: str
    score: float | None
    is_thing: bool
    box: Box
    area: int
    make_mask: Callable[[], np.ndarray] = field(repr=False, compare=False)

    @property
    def mask(self) -> np.ndarray:
        """Mask (H, W) bool, made when it is asked for."""
        return self.make_mask()


@dataclass(frozen=True, eq=False)
class FrameResult:
    """The objects of one frame.

    Attributes:
        objects: objects that have at least one pixel. Sorted by id (panoptic), by descending score (instance) or by
            label (semantic).
        image_size: (height, width) of the maps and masks.
        id_map: panoptic results: object ids (H, W) int32, 0 is void.
        label_map: semantic results: labels (H, W) uint8 or uint16.
        index: number of the frame in its video, from 0.
        image: the frame (H, W, 3) uint8 RGB; None if it was not kept.
    """

    objects: tuple[SegmentedObject, ...]
    image_size: Size
    id_map: np.ndarray | None = field(default=None, repr=False)
    label_map: np.ndarray | None = field(default=None, repr=False)
    index: int = 0
    image: np.ndarray | None = field(default=None, repr=False)

    def to_supervision(self) -> Any:
        """The objects as ``supervision.Detections`` with boxes, masks, scores, labels, track ids and class names.

        Raises:
            ImportError: The package ``supervision`` is not installed.
        """
        import supervision

        masks = [segment.mask for segment in self.objects]
        return supervision.Detections(
            xyxy=np.array([segment.box for segment in self.objects], np.float32).reshape(-1, 4),
            mask=np.stack(masks) if masks else np.zeros((0, *self.image_size), bool),
            confidence=np.array([1.0 if segment.score is None else segment.score for segment in self.objects]),
            class_id=np.array([segment.label for segment in self.objects], int),
            tracker_id=np.array([segment.id for segment in self.objects], int),
            data=dict(class_name=np.array([segment.name for segment in self.objects], dtype=str)),
        )

    def index_map(self) -> np.ndarray:
        """The position + 1 of the visible object in ``objects`` for every pixel, (H, W) int32; 0 where there is none.

        Where masks overlap, the object with the higher score is visible.
        """
        if self.id_map is not None:
            return lookup(self.id_map, {segment.id: k for k, segment in enumerate(self.objects, 1)})
        if self.label_map is not None:
            return lookup(self.label_map, {segment.label: k for k, segment in enumerate(self.objects, 1)})
        index = np.zeros(self.image_size, np.int32)
        for k, segment in sorted(enumerate(self.objects, 1), key=lambda item: item[1].score or 0.0):
            index[segment.mask] = k
        return index


def lookup(values: np.ndarray, table: dict[int, int]) -> np.ndarray:
    """``table[value]`` for every value of a map (H, W) of non-negative integers, 0 for values that are not in it."""
    array = np.zeros(max(int(values.max(initial=0)), max(table, default=0)) + 1, np.int32)
    array[list(table)] = list(table.values())
    return array[values]


def map_objects(values: np.ndarray, entries: list[dict[str, Any]]) -> tuple[SegmentedObject, ...]:
    """The objects of a map (H, W) of non-negative integers that have a pixel in it.

    Args:
        values: Map of ids or labels.
        entries: For each object its ``value`` in the map, and the fields of :class:`SegmentedObject` except ``box``,
            ``area`` and ``make_mask``.
    """
    index = lookup(values, {entry['value']: k for k, entry in enumerate(entries, 1)})
    areas = np.bincount(index.ravel(), minlength=len(entries) + 1)
    boxes = ndimage.find_objects(index, max_label=len(entries))
    objects = []
    for k, (entry, slices) in enumerate(zip(entries, boxes), 1):
        if slices is not None:
            rows, columns = slices
            fields = {name: value for name, value in entry.items() if name != 'value'}
            box = (columns.start, rows.start, columns.stop, rows.stop)
            objects.append(
                SegmentedObject(**fields, box=box, area=int(areas[k]), make_mask=equals(values, entry['value']))
            )
    return tuple(objects)


def equals(values: np.ndarray, value: int) -> Callable[[], np.ndarray]:
    """A function that makes the mask of a value of a map."""
    return lambda: values == value


def mask_object(mask: np.ndarray, make_mask: Callable[[], np.ndarray], **fields: Any) -> SegmentedObject | None:
    """The object of a mask (H, W) bool; None if the mask is empty.

    Args:
        mask: the mask.
        make_mask: makes it again.
        **fields: the other fields of :class:`SegmentedObject`.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return SegmentedObject(**fields, box=box, area=int(mask.sum()), make_mask=make_mask)
