"""Oracle substitutions: results in which one kind of error is replaced by the ground truth.

The score after a substitution shows how much of the distance to a perfect score this kind of error costs. Panoptic and
semantic results are changed in their :class:`FrameTable`, without reading pixels again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from .error_breakdown import majority_matches, matched_segments
from .frame_table import VOID_SEGMENT, FrameTable, Listed, paired_values, pixel_counts

Joint = dict[tuple[int, int], int]
FOLLOWED, ADDED = 1 << 25, 1 << 26  # offsets of new ids, above those of a PNG


def with_true_classes(tables: Sequence[FrameTable]) -> list[FrameTable]:
    """Predictions that match a segment (IoU above 0.5) get its class."""
    changed = []
    for table in tables:
        predicted = dict(table.predicted)
        for g, p in matched_segments(table).items():
            category = table.truth[g].category
            predicted[p] = replace(predicted[p], category=category, last_category=category)
        changed.append(replace(table, predicted=predicted))
    return changed


def with_true_identities(tables: Sequence[FrameTable]) -> list[FrameTable]:
    """Predictions that match a segment (IoU above 0.5) get the same id in all frames.

    Where a prediction matches nothing, it follows the segment that it matches in most other frames, unless another
    prediction matches this segment in the frame.
    """
    matched, changed = [matched_segments(table) for table in tables], []
    followed = majority_matches([{p: g for g, p in matches.items()} for matches in matched])
    for table, matches in zip(tables, matched):
        names = {p: FOLLOWED + g for g, p in matches.items()}
        for p in table.predicted:
            if p not in names and p in followed and FOLLOWED + followed[p] not in names.values():
                names[p] = FOLLOWED + followed[p]
        predicted = {names.get(p, p): entry for p, entry in table.predicted.items()}
        changed.append(moved(replace(table, predicted=predicted), lambda g, p, names=names: names.get(p, p)))
    return changed


def with_true_masks(tables: Sequence[FrameTable]) -> list[FrameTable]:
    """Predictions that match a segment (IoU above 0.5) get its mask; what they had outside of it becomes void."""
    changed = []
    for table in tables:
        matches = matched_segments(table)
        used = set(matches.values())
        changed.append(
            moved(table, lambda g, p, m=matches, used=used: m[g] if g in m else VOID_SEGMENT if p in used else p)
        )
    return changed


def with_missed(tables: Sequence[FrameTable]) -> list[FrameTable]:
    """Segments without a match are added with their mask, class and the id that matches them in most other frames.

    If this id is in the frame and matches nothing, its mask is replaced.
    """
    matched, changed = [matched_segments(table) for table in tables], []
    majority = majority_matches(matched)
    for table, matches in zip(tables, matched):
        predicted, names, used = dict(table.predicted), {}, set(matches.values())
        for g, entry in table.truth.items():
            if g in matches or entry.is_crowd:
                continue
            name = majority.get(g, ADDED + g)
            names[g] = ADDED + g if name in used else name
            used.add(names[g])
            predicted[names[g]] = Listed(entry.category, entry.category)
        new = set(names.values())
        changed.append(
            moved(
                replace(table, predicted=predicted),
                lambda g, p, names=names, new=new: names.get(g, VOID_SEGMENT if p in new else p),
            )
        )
    return changed


def without_false(tables: Sequence[FrameTable]) -> list[FrameTable]:
    """Predictions that match nothing in any frame become void.

    Predictions with most of their pixels on void or on a crowd of their class are no errors and stay.
    """
    matched, changed = [matched_segments(table) for table in tables], []
    kept = {p for matches in matched for p in matches.values()}
    for table in tables:
        areas = pixel_counts(table.joint, 1)
        forgiven = paired_values(table.joint, table.truth, table.predicted)
        false = {p for p in table.predicted if p not in kept and not forgiven[p] / areas.get(p, 1) > 0.5}
        changed.append(moved(table, lambda g, p, false=false: VOID_SEGMENT if p in false else p))
    return changed


def moved(table: FrameTable, target: Callable[[int, int], int]) -> FrameTable:
    """Moves pixels to other predictions; predictions without pixels are removed.

    Args:
        table: The frame.
        target: Function (ground-truth id, predicted id) -> new predicted id.
    """
    joint: Joint = {}
    for (g, p), count in table.joint.items():
        pair = g, target(g, p)
        joint[pair] = joint.get(pair, 0) + count
    present = {p for _, p in joint}
    return replace(table, joint=joint, predicted={p: entry for p, entry in table.predicted.items() if p in present})


Substitution = Callable[[Sequence[FrameTable]], list[FrameTable]]
SUBSTITUTIONS: dict[str, Substitution] = dict(
    classes=with_true_classes,
    association=with_true_identities,
    masks=with_true_masks,
    missed=with_missed,
    false=without_false,
)


def substituted(tables: Sequence[FrameTable], parts: Sequence[str]) -> list[FrameTable]:
    """Tables of a video with the errors of some kinds replaced, one kind after the other.

    Args:
        tables: Frames of the video.
        parts: Keys of ``SUBSTITUTIONS``.
    """
    for part in parts:
        tables = SUBSTITUTIONS[part](tables)
    return list(tables)


def semantic_table(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> FrameTable:
    """Table of a frame of a semantic segmentation, in which every class is one segment.

    Args:
        truth: Raw ground-truth values (H, W): class + 1; 0 and values above the classes are void.
        predicted: Predicted classes (H, W); other values are void.
        num_classes: Number of classes K.
    """
    rows = np.where(truth <= num_classes, truth, 0).astype(np.int64)
    columns = np.where(predicted < num_classes, predicted.astype(np.int64) + 1, 0)
    counts = np.bincount((rows * (num_classes + 1) + columns).ravel(), minlength=(num_classes + 1) ** 2)
    joint = {divmod(int(k), num_classes + 1): int(counts[k]) for k in np.flatnonzero(counts)}
    listed = [{k: Listed(k, k, areas) for k, areas in pixel_counts(joint, side).items() if k} for side in (0, 1)]
    return FrameTable(listed[0], listed[1], joint)


def confusion_of_tables(tables: Sequence[FrameTable], num_classes: int) -> np.ndarray:
    """Confusion matrix (K, K + 1) of tables made by :func:`semantic_table`; see :class:`VSSCounts`."""
    confusion = np.zeros((num_classes, num_classes + 1), np.int64)
    for table in tables:
        for (g, p), count in table.joint.items():
            if g != VOID_SEGMENT:
                entry = table.predicted.get(p)
                confusion[table.truth[g].category - 1, num_classes if entry is None else entry.category - 1] += count
    return confusion
