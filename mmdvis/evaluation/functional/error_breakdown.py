"""Breakdown of panoptic video errors: missed segments, false positives, identity switches and wrong classes."""

from collections.abc import Sequence
from dataclasses import dataclass

from .frame_table import VOID_SEGMENT, FrameTable, paired_values, pixel_counts

ERROR_KINDS = ('right', 'switched', 'class', 'missed', 'false')


@dataclass(frozen=True)
class FrameVerdict:
    """Classification of the segments of one frame.

    Attributes:
        truth: Ground-truth id -> outcome. ``'right'``: matched. ``'switched'``: matched, but by another predicted id
            than in most frames. ``'class'``: matched by a prediction of another class. ``'missed'``: unmatched.
        false: Ids of false positives: predictions that match no ground-truth segment (IoU above 0.5) and have at most
            half of their pixels on void or on a crowd of their class.
    """

    truth: dict[int, str]
    false: tuple[int, ...]


@dataclass(frozen=True)
class VideoErrors:
    """Errors of a video.

    Attributes:
        frames: Segment classification of each frame.
        switches: Number of times a ground-truth object is matched by another predicted id than at its previous match.
        pixels: Error kind -> number of pixels, of ground-truth segments or, for ``'false'``, of predicted segments.
    """

    frames: tuple[FrameVerdict, ...]
    switches: int
    pixels: dict[str, int]


def matched_segments(table: FrameTable) -> dict[int, int]:
    """Ground-truth id -> predicted id with IoU above 0.5, regardless of class.

    Crowds are not matched, and the pixels of a prediction that lie on void do not count towards the union.
    """
    gt_pixels, predicted_pixels, matches = pixel_counts(table.joint, 0), pixel_counts(table.joint, 1), {}
    for (g, p), shared in table.joint.items():
        if g in table.truth and p in table.predicted and not table.truth[g].is_crowd:
            union = gt_pixels[g] + predicted_pixels[p] - shared - table.joint.get((VOID_SEGMENT, p), 0)
            if shared / union > 0.5:
                matches[g] = p
    return matches


def find_errors(tables: Sequence[FrameTable]) -> VideoErrors:
    """Classifies the segments of all frames of a video."""
    matched = [matched_segments(table) for table in tables]
    majority, switches = majority_matches(matched), 0
    frames, pixels, last = [], dict.fromkeys(ERROR_KINDS, 0), {}
    for table, matches in zip(tables, matched):
        outcomes, areas = {}, [pixel_counts(table.joint, side) for side in (0, 1)]
        for g, entry in table.truth.items():
            if entry.is_crowd:
                continue
            p = matches.get(g)
            outcomes[g] = (
                'missed'
                if p is None
                else 'class'
                if table.predicted[p].category != entry.category
                else 'right'
                if p == majority[g]
                else 'switched'
            )
            pixels[outcomes[g]] += areas[0].get(g, 0)
            if p is not None:
                switches += last.get(g, p) != p
                last[g] = p
        matched_ids = set(matches.values())
        false_ids = tuple(
            p
            for p, forgiven in paired_values(table.joint, table.truth, table.predicted).items()
            if p not in matched_ids and not forgiven / areas[1].get(p, 1) > 0.5
        )
        pixels['false'] += sum(areas[1].get(p, 0) for p in false_ids)
        frames.append(FrameVerdict(outcomes, false_ids))
    return VideoErrors(tuple(frames), switches, pixels)


def majority_matches(matched: Sequence[dict[int, int]]) -> dict[int, int]:
    """Ground-truth id -> predicted id that matches it in most frames; the earliest one in case of a tie."""
    counts: dict[int, list[int]] = {}
    for matches in matched:
        for g, p in matches.items():
            counts.setdefault(g, []).append(p)
    return {g: max(dict.fromkeys(predicted_ids), key=predicted_ids.count) for g, predicted_ids in counts.items()}
