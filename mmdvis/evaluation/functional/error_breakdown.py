"""Where a panoptic video loses its score: objects missed, false, under another name, or of another class."""

from collections.abc import Sequence
from dataclasses import dataclass

from .frame_table import VOID_SEGMENT, FrameTable, paired_values, pixel_counts

ERROR_KINDS = ('right', 'switched', 'class', 'missed', 'false')


@dataclass(frozen=True)
class FrameVerdict:
    """What became of the segments of one frame.

    Attributes:
        truth: true id -> ``'right'``; ``'switched'``: found, but under another id than in most frames; ``'class'``: found as
            another class; ``'missed'``.
        false: predicted ids that are no true segment (IoU 0.5), and of which at most half lies on void or on a crowd of
            their class.
    """

    truth: dict[int, str]
    false: tuple[int, ...]


@dataclass(frozen=True)
class VideoErrors:
    """The errors of a video.

    Attributes:
        frames: verdicts.
        switches: how often a true object is found under another id than when it was found last.
        pixels: kind -> pixels, of true segments and, for ``'false'``, of predicted ones.
    """

    frames: tuple[FrameVerdict, ...]
    switches: int
    pixels: dict[str, int]


def matched_segments(table: FrameTable) -> dict[int, int]:
    """True id -> the predicted id with IoU above 0.5, whatever its class; crowds and void take no part."""
    truth, predicted, found = pixel_counts(table.joint, 0), pixel_counts(table.joint, 1), {}
    for (g, p), shared in table.joint.items():
        if g in table.truth and p in table.predicted and not table.truth[g].is_crowd:
            union = truth[g] + predicted[p] - shared - table.joint.get((VOID_SEGMENT, p), 0)
            if shared / union > 0.5:
                found[g] = p
    return found


def find_errors(tables: Sequence[FrameTable]) -> VideoErrors:
    """The errors of a video from the tables of its frames."""
    matched = [matched_segments(table) for table in tables]
    usual, switches = majority_matches(matched), 0
    frames, pixels, last = [], dict.fromkeys(ERROR_KINDS, 0), {}
    for table, found in zip(tables, matched):
        truth, areas = {}, [pixel_counts(table.joint, side) for side in (0, 1)]
        for g, entry in table.truth.items():
            if entry.is_crowd:
                continue
            p = found.get(g)
            truth[g] = (
                'missed'
                if p is None
                else 'class'
                if table.predicted[p].category != entry.category
                else 'right'
                if p == usual[g]
                else 'switched'
            )
            pixels[truth[g]] += areas[0].get(g, 0)
            if p is not None:
                switches += last.get(g, p) != p
                last[g] = p
        taken = set(found.values())
        false = tuple(
            p
            for p, forgiven in paired_values(table.joint, table.truth, table.predicted).items()
            if p not in taken and not forgiven / areas[1].get(p, 1) > 0.5
        )
        pixels['false'] += sum(areas[1].get(p, 0) for p in false)
        frames.append(FrameVerdict(truth, false))
    return VideoErrors(tuple(frames), switches, pixels)


def majority_matches(matched: Sequence[dict[int, int]]) -> dict[int, int]:
    """True id -> the predicted id it has in most frames, the earlier one of equals."""
    counts: dict[int, list[int]] = {}
    for found in matched:
        for g, p in found.items():
            counts.setdefault(g, []).append(p)
    return {g: max(dict.fromkeys(names), key=names.count) for g, names in counts.items()}
