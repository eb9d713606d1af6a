"""Per-frame statistics shared by all panoptic metrics: listed segments and the pixel overlap of each pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

MAX_COLOUR = 1 << 24  # exclusive upper bound of the ids that an RGB PNG can store
VOID_SEGMENT = 0
UNLISTED = -1


@dataclass(frozen=True)
class Listed:
    """Segment of a frame as listed in the JSON file; several entries with the same id form one segment.

    Attributes:
        category: Class of the first entry.
        last_category: Class of the last entry.
        area: Sum of the areas stated in the entries.
        is_crowd: Crowd flag of the first entry.
    """

    category: int
    last_category: int
    area: int = 0
    is_crowd: bool = False


@dataclass(frozen=True)
class FrameTable:
    """Segments of one frame, and the pixel overlaps of ground truth and prediction.

    Attributes:
        truth: Ground-truth id -> listed segment, in the order of the JSON file.
        predicted: Predicted id -> listed segment, in the order of the JSON file.
        joint: (ground-truth id, predicted id) -> number of shared pixels. Id 0 is void; -1 stands for all ids that are
            not listed in the JSON file.
        stray: Example of a predicted id that is not listed in the JSON file; None if all are listed.
    """

    truth: dict[int, Listed]
    predicted: dict[int, Listed]
    joint: dict[tuple[int, int], int]
    stray: int | None = None


def listed(segments: Sequence[dict], merge: bool = True) -> dict[int, Listed]:
    """Indexes the ``segments_info`` of a frame by id.

    Args:
        segments: ``segments_info`` of the frame.
        merge: Whether entries with the same id are merged; otherwise the last entry replaces the others.
    """
    by_id: dict[int, Listed] = {}
    for s in segments:
        area, crowd = int(s.get('area') or 0), bool(s.get('iscrowd', 0))
        first = by_id.get(s['id']) if merge else None
        by_id[s['id']] = (
            Listed(s['category_id'], s['category_id'], area, crowd)
            if first is None
            else Listed(first.category, s['category_id'], first.area + area, first.is_crowd)
        )
    return by_id


@lru_cache(maxsize=1)
def blank_table() -> np.ndarray:
    """Scratch memory of :func:`segment_rows` with one number per colour; all zero between calls."""
    return np.zeros(MAX_COLOUR, np.uint16)


def segment_rows(id_map: np.ndarray, ids: list[int]) -> np.ndarray:
    """Position of each pixel's id in ``ids``, starting at 1, as (H * W,); 0 for ids that are not in the list."""
    flat = id_map.ravel()
    if len(ids) < 65535 and max(ids) < MAX_COLOUR and flat.size and 0 <= flat.min() and flat.max() < MAX_COLOUR:
        table = blank_table()
        table[ids] = np.arange(1, len(ids) + 1)
        positions = table.take(flat, mode='clip')
        table[ids] = 0
        return positions
    order = np.argsort(ids)
    sorted_ids = np.asarray(ids)[order]
    positions = np.searchsorted(sorted_ids, flat).clip(max=len(sorted_ids) - 1)
    return np.where(sorted_ids[positions] == flat, order[positions] + 1, 0)


def frame_table(
    true_map: np.ndarray,
    true_segments: Sequence[dict],
    predicted_map: np.ndarray,
    predicted_segments: Sequence[dict],
    merge: bool = True,
) -> FrameTable:
    """Computes the segments and pixel overlaps of one frame.

    Args:
        true_map: Ground-truth ids (H, W); 0 is void.
        true_segments: ``segments_info`` of the ground truth.
        predicted_map: Predicted ids (H, W); 0 is void.
        predicted_segments: ``segments_info`` of the prediction.
        merge: Whether entries with the same id are merged; otherwise the last entry replaces the others.

    Raises:
        ValueError: The maps have different sizes.
    """
    if true_map.shape != predicted_map.shape:
        raise ValueError(
            f'the prediction is {predicted_map.shape} (height, width), the ground truth {true_map.shape}; '
            'write predictions at the size of the ground truth'
        )
    gt_listed, predicted_listed = listed(true_segments, merge), listed(predicted_segments, merge)
    rows, columns = [VOID_SEGMENT, *gt_listed], [VOID_SEGMENT, *predicted_listed]
    width = len(columns) + 1
    predicted_rows = segment_rows(predicted_map, columns)
    counts = np.bincount(
        segment_rows(true_map, rows).astype(np.intp) * width + predicted_rows, minlength=(len(rows) + 1) * width
    )
    ids = [UNLISTED, *rows], [UNLISTED, *columns]
    joint = {(ids[0][k // width], ids[1][k % width]): int(counts[k]) for k in np.flatnonzero(counts)}
    has_stray = any(p == UNLISTED for _, p in joint)
    stray = int(predicted_map.ravel()[int(np.argmax(predicted_rows == 0))]) if has_stray else None
    return FrameTable(gt_listed, predicted_listed, joint, stray)


def paired_values(
    joint: dict[tuple[int, int], int], truth: dict[int, Listed], predicted: dict[int, Listed]
) -> dict[int, int]:
    """Predicted id -> number of its pixels on void and on a crowd of its class.

    If several crowds have the same class, only the last one listed counts.
    """
    crowds = {entry.category: g for g, entry in truth.items() if entry.is_crowd}
    return {
        p: joint.get((VOID_SEGMENT, p), 0) + joint.get((crowds.get(entry.category), p), 0)
        for p, entry in predicted.items()
    }


def pixel_counts(joint: dict[tuple[int, int], int], side: int) -> dict[int, int]:
    """Number of pixels of each ground-truth id (``side=0``) or predicted id (``side=1``)."""
    total: dict[int, int] = {}
    for pair, count in joint.items():
        total[pair[side]] = total.get(pair[side], 0) + count
    return total
