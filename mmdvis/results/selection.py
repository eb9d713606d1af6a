"""Selects objects of a frame's result, and renumbers them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import numpy as np

from mmdvis.errors import BadInputError

from .class_info import ClassInfo
from .frame_result import FrameResult, SegmentedObject


def label_dtype(num_classes: int) -> str:
    """Name of the type of maps of labels, of NumPy and torch; its largest value stands for no class."""
    return 'uint8' if num_classes <= 255 else 'uint16'


def void_label(label_map: np.ndarray) -> int:
    """The value of pixels without a class in a map of labels: the largest one of its type."""
    return int(np.iinfo(label_map.dtype).max)


def labels_of(names: Collection[str], classes: ClassInfo) -> set[int]:
    """Labels of classes that are given by name, without regard to upper case.

    Raises:
        BadInputError: The model has no class of this name.
    """
    known = {name.lower(): label for label, name in enumerate(classes.names)}
    unknown = [name for name in names if name.lower() not in known]
    if unknown:
        shown = ', '.join(classes.names[:20]) + (', ...' if len(classes) > 20 else '')
        raise BadInputError(f'the model has no class {", ".join(unknown)}; its classes are {shown}')
    return {known[name.lower()] for name in names}


def select_objects(result: FrameResult, is_kept: Callable[[SegmentedObject], bool]) -> FrameResult:
    """The result without the objects for which a function is false; their pixels become void."""
    kept = tuple(segment for segment in result.objects if is_kept(segment))
    if len(kept) == len(result.objects):
        return result
    id_map, label_map = result.id_map, result.label_map
    if id_map is not None:
        id_map = np.where(np.isin(id_map, [segment.id for segment in kept]), id_map, 0).astype(id_map.dtype)
    if label_map is not None:
        is_label = np.isin(label_map, [segment.label for segment in kept])
        label_map = np.where(is_label, label_map, void_label(label_map)).astype(label_map.dtype)
    return replace(result, objects=kept, id_map=id_map, label_map=label_map)


def shift_ids(result: FrameResult, offset: int) -> FrameResult:
    """The result with ``offset`` added to all ids; semantic results, whose ids are labels, stay as they are."""
    if not offset or result.label_map is not None:
        return result
    id_map = result.id_map
    if id_map is not None:
        id_map = np.where(id_map > 0, id_map + offset, 0).astype(id_map.dtype)
    return replace(result, objects=shifted(result.objects, offset), id_map=id_map)


def shifted(objects: Sequence[SegmentedObject], offset: int) -> tuple[SegmentedObject, ...]:
    """The objects with other ids."""
    return tuple(replace(segment, id=segment.id + offset) for segment in objects)
