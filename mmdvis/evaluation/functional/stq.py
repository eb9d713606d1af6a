"""Segmentation and Tracking Quality (STEP, arXiv:2102.11859) computed from frame tables."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .frame_table import FrameTable, Listed

NUMBERINGS = ('official', 'from_one', 'corrected')
SUFFIXES = dict(official='', corrected='_corrected')  # numbering -> suffix of the reported metric names
Tube = tuple[int, int]  # class, instance


@dataclass(frozen=True, eq=False)
class STQCounts:
    """Counts of one or more videos; counts are added with ``+``.

    Attributes:
        confusion: Pixel counts (K + 1, K + 1) int64. Rows are ground truth, columns are prediction, the last index is
            void.
        association: Sum of the association scores of all ground-truth thing tubes.
        num_tubes: Number of ground-truth thing tubes.
    """

    confusion: np.ndarray
    association: float
    num_tubes: int

    def __add__(self, other: 'STQCounts') -> 'STQCounts':
        return STQCounts(
            self.confusion + other.confusion, self.association + other.association, self.num_tubes + other.num_tubes
        )

    def summarise(self) -> tuple[float, float, float]:
        """STQ, AQ and SQ in [0, 1]; AQ is 0 if there is no ground-truth tube."""
        valid = self.confusion.astype(np.float64)
        valid[-1] = 0  # void ground truth is ignored; void predicted on valid ground truth counts as a separate class
        correct = np.diag(valid)
        union = valid.sum(0) + valid.sum(1) - correct
        is_present = union > 0
        sq = float((correct[is_present] / union[is_present]).sum() / max(is_present.sum(), 1))
        aq = self.association / self.num_tubes if self.num_tubes else 0.0
        return float(np.sqrt(aq * sq)), aq, sq


def instance_numbers(frames: Sequence[dict[int, Listed]]) -> dict[int, int]:
    """Instance number of each id, starting at 0 in the order of first occurrence in the segment lists of the video."""
    numbers: dict[int, int] = {}
    for frame in frames:
        for segment_id in frame:
            numbers.setdefault(segment_id, len(numbers))
    return numbers


def count_stq(tables: Sequence[FrameTable], is_thing: dict[int, bool], numbering: str = 'official') -> STQCounts:
    """Counts of one video.

    Args:
        tables: Frame tables of the video.
        is_thing: Category id -> whether it is a thing; the order defines the rows of the confusion matrix.
        numbering: How instances are numbered. ``'official'``: as in ``eval_stq_vspw.py``, starting at 0, so that a
            thing listed first in a video is treated as a crowd and ignored. ``'from_one'``: starting at 1.
            ``'corrected'``: starting at 1, and segments marked as crowd are ignored, as the metric defines it.

    Raises:
        ValueError: ``numbering`` is not one of ``NUMBERINGS``.
    """
    if numbering not in NUMBERINGS:
        raise ValueError(f'numbering must be one of {NUMBERINGS}, got {numbering!r}')
    offset = 0 if numbering == 'official' else 1
    numbers = [instance_numbers([t.truth for t in tables]), instance_numbers([t.predicted for t in tables])]
    rows = {category: k for k, category in enumerate(is_thing)}
    confusion = np.zeros((len(rows) + 1,) * 2, np.int64)
    gt_areas: dict[Tube, int] = {}
    predicted_areas: dict[Tube, int] = {}
    shared: dict[tuple[Tube, Tube], int] = {}
    for table in tables:
        for (g, p), count in table.joint.items():
            gt_entry, predicted_entry = table.truth.get(g), table.predicted.get(p)
            confusion[
                rows.get(gt_entry.last_category, -1) if gt_entry else -1,
                rows.get(predicted_entry.last_category, -1) if predicted_entry else -1,
            ] += count
            gt_tube, predicted_tube = (
                thing_tube(entry, number, is_thing, offset)
                for entry, number in ((gt_entry, numbers[0].get(g)), (predicted_entry, numbers[1].get(p)))
            )
            if gt_tube is not None and (gt_tube[1] == 0 or numbering == 'corrected' and gt_entry.is_crowd):
                continue  # crowds are ignored
            if gt_tube is not None:
                gt_areas[gt_tube] = gt_areas.get(gt_tube, 0) + count
            if predicted_tube is not None:
                predicted_areas[predicted_tube] = predicted_areas.get(predicted_tube, 0) + count
            if gt_tube is not None and predicted_tube is not None:
                shared[gt_tube, predicted_tube] = shared.get((gt_tube, predicted_tube), 0) + count
    association = sum(n / gt_areas[g] * n / (gt_areas[g] + predicted_areas[p] - n) for (g, p), n in shared.items())
    return STQCounts(confusion, association, len(gt_areas))


def thing_tube(entry: Listed | None, number: int | None, is_thing: dict[int, bool], offset: int) -> Tube | None:
    """Tube (class, instance) of a listed segment; None for void and stuff."""
    if entry is None or not is_thing.get(entry.last_category, False):
        return None
    return entry.last_category, number + offset


def sum_videos(counts: list[STQCounts]) -> STQCounts:
    """Sums the counts of one or more videos."""
    total = counts[0]
    for video in counts[1:]:
        total = total + video
    return total


def figures(videos: list[dict[str, STQCounts]]) -> dict[str, float]:
    """``STQ``, ``AQ`` and ``SQ`` in [0, 1] for each suffix of ``SUFFIXES``.

    Args:
        videos: Suffix -> counts, for each video.
    """
    metrics = {}
    for suffix in SUFFIXES.values():
        values = sum_videos([video[suffix] for video in videos]).summarise()
        metrics.update({f'{name}{suffix}': value for name, value in zip(('STQ', 'AQ', 'SQ'), values)})
    return metrics
