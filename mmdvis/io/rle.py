"""Masks of COCO's kind: compressed run lengths, plain run lengths, polygons."""

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmdvis.errors import DataError

Mask = dict | list | None
Size = tuple[int, int]


def run_lengths(counts: str | bytes) -> np.ndarray:
    """The run lengths of COCO's compressed text: five bits a letter, every third and later run as a difference."""
    letters = np.frombuffer(counts.encode() if isinstance(counts, str) else counts, np.uint8).astype(np.int64) - 48
    if not len(letters) or letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        raise ValueError('it is damaged')
    ends = np.flatnonzero((letters & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() > 6:
        raise ValueError('it is damaged')
    place = np.arange(len(letters)) - np.repeat(starts, ends - starts + 1)
    values = np.add.reduceat((letters & 31) << (5 * place), starts)
    values -= np.where(letters[ends] & 16, np.int64(1) << (5 * (ends - starts + 1)), 0)
    for first in (1, 2):  # runs 3, 5, ... are differences to the run two before, and so are 4, 6, ...
        values[first::2] = np.cumsum(values[first::2])
    return values


def is_polygon(part: Any, size: Size) -> bool:
    """Whether it is a list of x, y pairs, none of them further from the image than its longer edge."""
    limit = max(size)
    return (
        isinstance(part, list)
        and len(part) >= 6
        and len(part) % 2 == 0
        and all(isinstance(x, (int, float)) and -limit <= x <= 2 * limit for x in part)
    )  # false for NaN, too


def check_segmentation(mask: Any, size: Size, where: str) -> None:
    """Raises DataError where a mask is no run-length mask (or list of polygons) of a frame of ``size``."""
    if isinstance(mask, list):
        if not mask or not all(is_polygon(part, size) for part in mask):
            raise DataError(
                f'{where}: a polygon mask must be lists of at least three x, y pairs of numbers in or near the '
                f'image, got {str(mask)[:60]}'
            )
        return
    if not isinstance(mask, dict) or not isinstance(mask.get('counts'), (str, list)):
        raise DataError(
            f"{where}: a mask must be null, or have 'size' and 'counts' (run lengths), got {str(mask)[:60]}"
        )
    if not isinstance(mask.get('size'), list) or mask['size'] != list(size):
        raise DataError(f'{where}: the mask is {mask.get("size")} (height, width), the video {list(size)}')
    counts = mask['counts']
    if isinstance(counts, list) and not all(type(run) is int and 0 <= run <= size[0] * size[1] for run in counts):
        raise DataError(
            f'{where}: the run lengths of a mask must be whole numbers from 0 to the pixels of a frame, got '
            f'{str(counts)[:60]}'
        )


def compress(mask: dict | list, size: Size, where: str) -> dict:
    """A mask in pycocotools' compressed form.

    Raises:
        DataError: its runs do not cover the frame exactly.
    """
    if isinstance(mask, list):
        return coco_mask.merge(coco_mask.frPyObjects(mask, *size))
    try:
        runs = np.array(mask['counts'], np.int64) if isinstance(mask['counts'], list) else run_lengths(mask['counts'])
    except ValueError as error:
        raise DataError(f'{where}: the run lengths of the mask cannot be read: {error}') from None
    if runs.min(initial=0) < 0 or runs.sum() != size[0] * size[1]:
        raise DataError(
            f'{where}: the run lengths of the mask cover {runs.sum()} pixels, the frame has {size[0]} x {size[1]} = '
            f'{size[0] * size[1]}'
        )
    if isinstance(mask['counts'], list):
        return coco_mask.frPyObjects(mask, *size)
    return dict(size=list(size), counts=mask['counts'].encode())


def decode_into(maps: list[np.ndarray], mask: dict | list, size: Size, number: int, where: str) -> None:
    """Writes ``number`` where a mask is, into the first of the maps (H, W) in which nothing is there, else into a new one."""
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
