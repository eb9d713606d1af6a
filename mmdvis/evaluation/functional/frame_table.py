"""What one frame contributes to any panoptic measure: who is listed, and how many pixels each pair shares."""
from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import numpy as np

VOID = 0
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
    """
    truth: Dict[int, Listed]
    predicted: Dict[int, Listed]
    joint: Dict[Tuple[int, int], int]


def listed(segments: Sequence[dict]) -> Dict[int, Listed]:
    """``segments_info`` of a frame by id, repeated ids merged."""
    found: Dict[int, Listed] = {}
    for s in segments:
        area, crowd = int(s.get('area', 0)), bool(s.get('iscrowd', 0))
        first = found.get(s['id'])
        found[s['id']] = (Listed(s['category_id'], s['category_id'], area, crowd) if first is None else
                          Listed(first.category, s['category_id'], first.area + area, first.is_crowd))
    return found


def places(id_map: np.ndarray, ids: List[int]) -> np.ndarray:
    """For every pixel the place of its id in ``ids``; ids that are not in it get len(ids)."""
    order = np.argsort(ids)
    known = np.asarray(ids)[order]
    found = np.searchsorted(known, id_map.ravel()).clip(max=len(known) - 1)
    return np.where(known[found] == id_map.ravel(), order[found], len(known))


def frame_table(true_map: np.ndarray, true_segments: Sequence[dict], predicted_map: np.ndarray,
                predicted_segments: Sequence[dict]) -> FrameTable:
    """The table of one frame.

    Args:
        true_map, predicted_map (H, W): ids, 0 is void.
        true_segments, predicted_segments: ``segments_info`` of the json.

    Raises:
        ValueError: the maps have different sizes.
    """
    if true_map.shape != predicted_map.shape:
        raise ValueError(f'the prediction is {predicted_map.shape} (height, width), the ground truth {true_map.shape}; '
                         'write predictions at the size of the ground truth')
    truth, predicted = listed(true_segments), listed(predicted_segments)
    rows, columns = [VOID, *truth], [VOID, *predicted]
    width = len(columns) + 1
    pair = places(true_map, rows) * width + places(predicted_map, columns)
    counts = np.bincount(pair, minlength=(len(rows) + 1) * width)
    names = [*rows, UNLISTED], [*columns, UNLISTED]
    joint = {(names[0][k // width], names[1][k % width]): int(counts[k]) for k in np.flatnonzero(counts)}
    return FrameTable(truth, predicted, joint)


def pixel_counts(joint: Dict[Tuple[int, int], int], side: int) -> Dict[int, int]:
    """Pixels of each true (side 0) or predicted (side 1) id."""
    total: Dict[int, int] = {}
    for pair, count in joint.items():
        total[pair[side]] = total.get(pair[side], 0) + count
    return total
