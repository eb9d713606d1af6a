"""What one frame contributes to any panoptic measure: who is listed, and how many pixels each pair shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

MAX_COLOUR = 1 << 24  # ids that a PNG can hold are below it
VOID_SEGMENT = 0
UNLISTED = -1


@dataclass(frozen=True)
class Listed:
    """A segment as the json of a frame lists it; several entries with one id are one segment.

    Attributes:
        category: class of its first entry; last_category: class of its last entry.
        area: sum of the areas its entries state.
        is_crowd: of its first entry.
    """

    category: int
    last_category: int
    area: int = 0
    is_crowd: bool = False


@dataclass(frozen=True)
class FrameTable:
    """Counts of one frame.

    Attributes:
        truth, predicted: id -> how it is listed, in the order of the json.
        joint: (true id, predicted id) -> pixels; id 0 is void, -1 stands for all ids that the json does not list.
        stray: a predicted id that the json does not list, if there is one.
    """

    truth: dict[int, Listed]
    predicted: dict[int, Listed]
    joint: dict[tuple[int, int], int]
    stray: int | None = None


def listed(segments: Sequence[dict], merge: bool = True) -> dict[int, Listed]:
    """``segments_info`` of a frame by id; entries with one id are merged, or else the last counts."""
    found: dict[int, Listed] = {}
    for s in segments:
        area, crowd = int(s.get('area') or 0), bool(s.get('iscrowd', 0))
        first = found.get(s['id']) if merge else None
        found[s['id']] = (
            Listed(s['category_id'], s['category_id'], area, crowd)
            if first is None
            else Listed(first.category, s['category_id'], first.area + area, first.is_crowd)
        )
    return found


@lru_cache(maxsize=1)
def blank_table() -> np.ndarray:
    """Scratch memory of :func:`segment_rows`, a number for each colour; all zero between calls."""
    return np.zeros(MAX_COLOUR, np.uint16)


def segment_rows(id_map: np.ndarray, ids: list[int]) -> np.ndarray:
    """For every pixel the place of its id in ``ids``, counted from 1; 0 where it is not in it. (H * W,)"""
    flat = id_map.ravel()
    if len(ids) < 65535 and max(ids) < MAX_COLOUR and flat.size and 0 <= flat.min() and flat.max() < MAX_COLOUR:
        table = blank_table()
        table[ids] = np.arange(1, len(ids) + 1)
        found = table.take(flat, mode='clip')
        table[ids] = 0
        return found
    order = np.argsort(ids)
    known = np.asarray(ids)[order]
    found = np.searchsorted(known, flat).clip(max=len(known) - 1)
    return np.where(known[found] == flat, order[found] + 1, 0)


def frame_table(
    true_map: np.ndarray,
    true_segments: Sequence[dict],
    predicted_map: np.ndarray,
    predicted_segments: Sequence[dict],
    merge: bool = True,
) -> FrameTable:
    """The table of one frame.

    Args:
        true_map, predicted_map (H, W): ids, 0 is void.
        true_segments, predicted_segments: ``segments_info`` of the json.
        merge: whether entries with one id are one segment; else the last of them counts.

    Raises:
        ValueError: the maps have different sizes.
    """
    if true_map.shape != predicted_map.shape:
        raise ValueError(
            f'the prediction is {predicted_map.shape} (height, width), the ground truth {true_map.shape}; '
            'write predictions at the size of the ground truth'
        )
    truth, predicted = listed(true_segments, merge), listed(predicted_segments, merge)
    rows, columns = [VOID_SEGMENT, *truth], [VOID_SEGMENT, *predicted]
    width = len(columns) + 1
    guess = segment_rows(predicted_map, columns)
    counts = np.bincount(
        segment_rows(true_map, rows).astype(np.intp) * width + guess, minlength=(len(rows) + 1) * width
    )
    names = [UNLISTED, *rows], [UNLISTED, *columns]
    joint = {(names[0][k // width], names[1][k % width]): int(counts[k]) for k in np.flatnonzero(counts)}
    has_stray = any(p == UNLISTED for _, p in joint)
    stray = int(predicted_map.ravel()[int(np.argmax(guess == 0))]) if has_stray else None
    return FrameTable(truth, predicted, joint, stray)


def paired_values(
    joint: dict[tuple[int, int], int], truth: dict[int, Listed], predicted: dict[int, Listed]
) -> dict[int, int]:
    """Predicted id -> its pixels on void and on a crowd of its class, of which the last listed counts."""
    crowds = {entry.category: g for g, entry in truth.items() if entry.is_crowd}
    return {
        p: joint.get((VOID_SEGMENT, p), 0) + joint.get((crowds.get(entry.category), p), 0)
        for p, entry in predicted.items()
    }


def pixel_counts(joint: dict[tuple[int, int], int], side: int) -> dict[int, int]:
    """Pixels of each true (side 0) or predicted (side 1) id."""
    total: dict[int, int] = {}
    for pair, count in joint.items():
        total[pair[side]] = total.get(pair[side], 0) + count
    return total
