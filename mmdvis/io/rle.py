"""COCO masks: compressed run lengths, uncompressed run lengths, and polygons."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmdvis.checks import run_lengths
from mmdvis.errors import DataError

Mask = dict | list | None
Size = tuple[int, int]


def is_polygon(part: Any, size: Size) -> bool:
    """Whether ``part`` is a list of x, y pairs that exceed the image by at most its longer edge."""
    limit = max(size)
    return (
        isinstance(part, list)
        and len(part) >= 6
        and len(part) % 2 == 0
        and all(isinstance(x, (int, float)) and -limit <= x <= 2 * limit for x in part)
    )  # also false for NaN


def check_segmentation(mask: Any, size: Size, where: str) -> None:
    """Checks that a mask is a run-length mask or a list of polygons of a frame.

    Args:
        mask: Entry of an annotation.
        size: Height and width of the frame.
        where: Annotation, video and frame, for error messages.

    Raises:
        DataError: The mask has another format or size.
    """
    if isinstance(mask, list):
        if not mask or not all(is_polygon(part, size) for part in mask):
            raise DataError(
                f'{where}: a polygon mask must be lists of at least three x, y pairs of numbers inside or close '
                f'to the image, got {str(mask)[:60]}'
            )
        return
    if not isinstance(mask, dict) or not isinstance(mask.get('counts'), (str, list)):
        raise DataError(
            f"{where}: a mask must be null, or have 'size' and 'counts' (run lengths), got {str(mask)[:60]}"
        )
    if not isinstance(mask.get('size'), list) or mask['size'] != list(size):
        raise DataError(f'{where}: the mask is {mask.get("size")} (height, width), but the frame is {list(size)}')
    counts = mask['counts']
    if isinstance(counts, list) and not all(type(run) is int and 0 <= run <= size[0] * size[1] for run in counts):
        raise DataError(
            f'{where}: the run lengths of a mask must be integers from 0 to the number of pixels of a frame, got '
            f'{str(counts)[:60]}'
        )


def compress(mask: dict | list, size: Size, where: str) -> dict:
    """Converts a mask to the compressed form of pycocotools.

    Args:
        mask: Run-length mask or list of polygons.
        size: Height and width of the frame.
        where: Annotation, video and frame, for error messages.

    Raises:
        DataError: The run lengths are malformed or do not cover the frame exactly.
    """
    if isinstance(mask, list):
        return coco_mask.merge(coco_mask.frPyObjects(mask, *size))
    try:
        runs = np.array(mask['counts'], np.int64) if isinstance(mask['counts'], list) else run_lengths(mask['counts'])
    except ValueError as error:
        raise DataError(f'{where}: the run lengths of the mask cannot be read: {error}') from None
    if runs.min(initial=0) < 0 or runs.sum() != size[0] * size[1]:
        raise DataError(
            f'{where}: the run lengths of the mask cover {runs.sum()} pixels, but the frame has {size[0]} x {size[1]} '
            f'= {size[0] * size[1]}'
        )
    if isinstance(mask['counts'], list):
        return coco_mask.frPyObjects(mask, *size)
    return dict(size=list(size), counts=mask['counts'].encode())


def track_fields(codes: Sequence[dict | None]) -> dict[str, list]:
    """``areas``, ``bboxes`` and ``segmentations`` of a track in the format of YouTube-VIS.

    Args:
        codes: Mask of each frame in the compressed form of pycocotools; None or empty where it is not visible.
    """
    visible = [code if code is not None and coco_mask.area(code) else None for code in codes]
    return dict(
        areas=[None if code is None else int(coco_mask.area(code)) for code in visible],
        bboxes=[None if code is None else coco_mask.toBbox(code).tolist() for code in visible],
        segmentations=[
            None if code is None else dict(size=list(code['size']), counts=code['counts'].decode()) for code in visible
        ],
    )


def decode_into(maps: list[np.ndarray], mask: dict | list, size: Size, number: int, where: str) -> None:
    """Writes ``number`` into the pixels of a mask.

    The first map in which these pixels are all zero is used; if there is none, a new map is appended.

    Args:
        maps: Maps (H, W), modified in place.
        mask: Run-length mask or list of polygons.
        size: Height and width of the frame.
        number: Value to write.
        where: Annotation, video and frame, for error messages.

    Raises:
        DataError: The run lengths are malformed or do not cover the frame exactly.
    """
    code = compress(mask, size, where)
    left, top, width, height = (int(x) for x in coco_mask.toBbox(code))
    if not width or not height:
        return
    window = np.s_[top : top + height, left : left + width]
    inside = coco_mask.decode(code)[window].astype(bool)
    for layer in maps:
        if not layer[window][inside].any():
            layer[window][inside] = number
            return
    maps.append(np.zeros_like(maps[0]))
    maps[-1][window][inside] = number
