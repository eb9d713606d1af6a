"""Segmentation and tracking quality (STEP, arXiv:2102.11859) from the tables of frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .frame_table import FrameTable, Listed

NUMBERINGS = ('official', 'from_one', 'corrected')
SUFFIXES = dict(official='', corrected='_corrected')  # of the figures that are reported
Tube = tuple[int, int]  # class, instance


@dataclass(frozen=True, eq=False)
class STQCounts:
    """Counts of videos; add up with ``+``.

    Attributes:
        confusion (K + 1, K + 1): int64 pixels, rows truth, columns prediction, the last for void.
        association: sum over the true tubes of things; num_tubes: their number.
    """

    confusion: np.ndarray
    association: float
    num_tubes: int

    def __add__(self, other: 'STQCounts') -> 'STQCounts':
        return STQCounts(
            self.confusion + other.confusion, self.association + other.association, self.num_tubes + other.num_tubes
        )

    def summarise(self) -> tuple[float, float, float]:
        """STQ, AQ and SQ in [0, 1]; without any true tube AQ is 0."""
        valid = self.confusion.astype(np.float64)
        valid[-1] = 0  # void truth counts nowhere, but void predicted on valid truth is a class of its own
        hit = np.diag(valid)
        union = valid.sum(0) + valid.sum(1) - hit
        seen = union > 0
        sq = float((hit[seen] / union[seen]).sum() / max(seen.sum(), 1))
        aq = self.association / self.num_tubes if self.num_tubes else 0.0
        return float(np.sqrt(aq * sq)), aq, sq


def instance_numbers(frames: Sequence[dict[int, Listed]]) -> dict[int, int]:
    """Number of each id: its rank of first mention in the lists of the video, from 0."""
    numbers: dict[int, int] = {}
    for frame in frames:
        for segment_id in frame:
            numbers.setdefault(segment_id, len(numbers))
    return numbers


def count_stq(tables: Sequence[FrameTable], is_thing: dict[int, bool], numbering: str = 'official') -> STQCounts:
    """Counts of one video.

    Args:
        tables: of its frames.
        is_thing: category id -> whether it is a thing; the order gives the rows of the confusion matrix.
        numbering: ``'official'``: as ``eval_stq_vspw.py``, instances from 0, so that a thing listed first in a video is
            taken for a crowd and left out. ``'from_one'``: from 1. ``'corrected'``: from 1, and crowds are 0 as the
            measure intends.
    """
    if numbering not in NUMBERINGS:
        raise ValueError(f'numbering must be one of {NUMBERINGS}, got {numbering!r}')
    offset = 0 if numbering == 'official' else 1
    numbers = [instance_numbers([t.truth for t in tables]), instance_numbers([t.predicted for t in tables])]
    place = {category: k for k, category in enumerate(is_thing)}
    confusion = np.zeros((len(place) + 1,) * 2, np.int64)
    truth: dict[Tube, int] = {}
    predicted: dict[Tube, int] = {}
    common: dict[tuple[Tube, Tube], int] = {}
    for table in tables:
        for (g, p), count in table.joint.items():
            true, guess = table.truth.get(g), table.predicted.get(p)
            confusion[
                place.get(true.last_category, -1) if true else -1, place.get(guess.last_category, -1) if guess else -1
            ] += count
            mine, theirs = (
                thing_tube(entry, number, is_thing, offset)
                for entry, number in ((true, numbers[0].get(g)), (guess, numbers[1].get(p)))
            )
            if mine is not None and (mine[1] == 0 or numbering == 'corrected' and true.is_crowd):
                continue  # crowds are looked at by nobody
            if mine is not None:
                truth[mine] = truth.get(mine, 0) + count
            if theirs is not None:
                predicted[theirs] = predicted.get(theirs, 0) + count
            if mine is not None and theirs is not None:
                common[mine, theirs] = common.get((mine, theirs), 0) + count
    association = sum(n / truth[g] * n / (truth[g] + predicted[p] - n) for (g, p), n in common.items())
    return STQCounts(confusion, association, len(truth))


def thing_tube(entry: Listed | None, number: int | None, is_thing: dict[int, bool], offset: int) -> Tube | None:
    """The tube (class, instance) a listed segment belongs to; None for void and stuff."""
    if entry is None or not is_thing.get(entry.last_category, False):
        return None
    return entry.last_category, number + offset


def sum_videos(counts: list[STQCounts]) -> STQCounts:
    """Adds up videos, at least one."""
    total = counts[0]
    for video in counts[1:]:
        total = total + video
    return total


def figures(videos: list[dict[str, STQCounts]]) -> dict[str, float]:
    """``STQ``, ``AQ``, ``SQ`` in [0, 1] for every suffix of ``SUFFIXES``, from the counts of each video by suffix."""
    found = {}
    for suffix in SUFFIXES.values():
        values = sum_videos([video[suffix] for video in videos]).summarise()
        found.update({f'{name}{suffix}': value for name, value in zip(('STQ', 'AQ', 'SQ'), values)})
    return found
