"""The ceiling of association: a prediction's masks and classes with the identities of the ground truth."""
from collections import Counter
from dataclasses import replace
from typing import Dict, List, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from .frame_table import FrameTable, pixel_counts

MATCHED = 1 << 25  # ids in files have 24 bits


def true_identities(tables: Sequence[FrameTable], is_thing: Dict[int, bool]) -> List[FrameTable]:
    """Renames the predicted things of a video, frame by frame, after the true things they stand for.

    In every frame predicted and true things of one class are matched one to one by mask IoU. A prediction without a
    partner goes with the true thing that its track stands for most often, if nobody else has that identity in the frame;
    else it keeps its own.

    Args:
        tables: of the frames of one video.
        is_thing: category id -> whether it is a thing.
    """
    names = [names_of(table, is_thing) for table in tables]
    votes: Dict[int, Counter] = {}
    for frame in names:
        for p, name in frame.items():
            votes.setdefault(p, Counter())[name] += 1
    usual = {p: counter.most_common(1)[0][0] for p, counter in votes.items()}
    return [rename(table, {**free_names(table, frame, usual), **frame}) for table, frame in zip(tables, names)]


def free_names(table: FrameTable, names: Dict[int, int], usual: Dict[int, int]) -> Dict[int, int]:
    """Predicted id -> its usual new id, for those without a partner in the frame whose usual id is not given away."""
    found: Dict[int, int] = {}
    for p in table.predicted:
        if p not in names and p in usual and usual[p] not in {*names.values(), *found.values()}:
            found[p] = usual[p]
    return found


def names_of(table: FrameTable, is_thing: Dict[int, bool]) -> Dict[int, int]:
    """Predicted thing id -> new id, for those that have a partner in the frame."""
    true = [g for g, entry in table.truth.items() if is_thing.get(entry.category) and not entry.is_crowd]
    predicted = [p for p, entry in table.predicted.items() if is_thing.get(entry.category)]
    if not true or not predicted:
        return {}
    areas = [pixel_counts(table.joint, side) for side in (0, 1)]
    shared = np.array([[table.joint.get((g, p), 0) for g in true] for p in predicted], float)
    shared *= [[table.truth[g].category == table.predicted[p].category for g in true] for p in predicted]
    union = (np.array([areas[1].get(p, 0) for p in predicted])[:, None]
             + np.array([areas[0].get(g, 0) for g in true])[None] - shared)
    iou = shared / np.maximum(union, 1)
    rows, columns = linear_sum_assignment(-iou)
    return {predicted[r]: MATCHED + true[c] for r, c in zip(rows, columns) if iou[r, c] > 0}


def rename(table: FrameTable, names: Dict[int, int]) -> FrameTable:
    """The table with predicted ids replaced; ids that ``names`` lacks stay."""
    return replace(table, predicted={names.get(p, p): entry for p, entry in table.predicted.items()},
                   joint={(g, names.get(p, p)): count for (g, p), count in table.joint.items()})
