"""The ceiling of association: a prediction's masks and classes with the identities of the ground truth."""
from dataclasses import replace
from typing import Dict, List, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from .frame_table import FrameTable, pixel_counts

MATCHED, ALONE = 1 << 25, 1 << 40  # ids in files have 24 bits


def true_identities(tables: Sequence[FrameTable], is_thing: Dict[int, bool]) -> List[FrameTable]:
    """Renames the predicted things of a video, frame by frame, after the true things they overlap most.

    In every frame predicted and true things are matched one to one by mask IoU, whatever their classes. A prediction
    without a partner gets an id that occurs nowhere else.

    Args:
        tables: of the frames of one video.
        is_thing: category id -> whether it is a thing.
    """
    return [rename(table, names_of(table, is_thing, t)) for t, table in enumerate(tables)]


def names_of(table: FrameTable, is_thing: Dict[int, bool], t: int) -> Dict[int, int]:
    """Predicted thing id -> new id, for frame ``t``."""
    true = [g for g, entry in table.truth.items() if is_thing.get(entry.category) and not entry.is_crowd]
    predicted = [p for p, entry in table.predicted.items() if is_thing.get(entry.category)]
    names = {p: ALONE + (t << 25) + p for p in predicted}
    if not true or not predicted:
        return names
    shared = np.array([[table.joint.get((g, p), 0) for g in true] for p in predicted], float)
    areas = [pixel_counts(table.joint, side) for side in (0, 1)]
    union = (np.array([areas[1].get(p, 0) for p in predicted])[:, None]
             + np.array([areas[0].get(g, 0) for g in true])[None] - shared)
    iou = shared / np.maximum(union, 1)
    for row, column in zip(*linear_sum_assignment(-iou)):
        if iou[row, column] > 0:
            names[predicted[row]] = MATCHED + true[column]
    return names


def rename(table: FrameTable, names: Dict[int, int]) -> FrameTable:
    """The table with predicted ids replaced; ids that ``names`` lacks stay."""
    return replace(table, predicted={names.get(p, p): entry for p, entry in table.predicted.items()},
                   joint={(g, names.get(p, p)): count for (g, p), count in table.joint.items()})
