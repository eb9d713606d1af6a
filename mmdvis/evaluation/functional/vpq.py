"""Video Panoptic Quality (Kim et al., CVPR 2020), equivalent to ``eval_vpq_vspw.py`` of VIPSeg."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .frame_table import UNLISTED, VOID_SEGMENT, FrameTable, Listed, paired_values, pixel_counts


@dataclass(frozen=True)
class ClassCounts:
    """Matches of one class; the counts of windows and videos are added with ``+``."""

    iou: float = 0.0
    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: 'ClassCounts') -> 'ClassCounts':
        return ClassCounts(self.iou + other.iou, self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def quality(self) -> tuple[float, float, float]:
        """PQ, SQ and RQ in [0, 1]; NaN for a class that does not occur."""
        total = self.tp + 0.5 * self.fp + 0.5 * self.fn
        if total == 0:
            return (np.nan,) * 3
        return self.iou / total, self.iou / self.tp if self.tp else 0.0, self.tp / total


@dataclass(frozen=True)
class WindowCounts:
    """Counts per class for windows of one length."""

    classes: dict[int, ClassCounts] = field(default_factory=dict)

    def __add__(self, other: 'WindowCounts') -> 'WindowCounts':
        names = {**self.classes, **other.classes}
        empty = ClassCounts()
        return WindowCounts({c: self.classes.get(c, empty) + other.classes.get(c, empty) for c in names})

    def mean(self, categories: Iterable[int]) -> tuple[float, float, float]:
        """Means of PQ, SQ and RQ over those ``categories`` that occur; NaN if none occurs."""
        values = [self.classes[c].quality for c in categories if c in self.classes]
        values = [value for value in values if not np.isnan(value[0])]
        return tuple(np.mean(values, 0).tolist()) if values else (np.nan,) * 3


def check_prediction(table: FrameTable, categories: Iterable[int], where: str) -> None:
    """Checks that the predicted id map matches its ``segments_info``.

    Args:
        table: Table of the frame.
        categories: Allowed category ids.
        where: Video and frame, for error messages.

    Raises:
        ValueError: A predicted id is not listed, a listed id has no pixel, or a category is not allowed.
    """
    pixels = pixel_counts(table.joint, 1)
    if UNLISTED in pixels:
        raise ValueError(
            f'{where}: {pixels[UNLISTED]} predicted pixels have an id (for example {table.stray}) that is not listed '
            'in segments_info'
        )
    for segment_id, entry in table.predicted.items():
        if segment_id not in pixels:
            raise ValueError(f'{where}: segments_info lists id {segment_id}, but no predicted pixel has this id')
        if entry.category not in categories:
            raise ValueError(
                f'{where}: predicted category {entry.category} of id {segment_id} is not in the category list'
            )


@dataclass(frozen=True)
class Rules:
    """Differences between the public evaluation scripts.

    Attributes:
        json_areas: Whether the areas of ground-truth tubes are taken from the JSON file instead of counted in pixels.
        merge_repeated: Whether entries of a frame with the same id form one segment; otherwise only the last one
            counts.
        min_truth_area: Ground-truth tubes with fewer pixels in the window are neither matched nor counted as missed.
    """

    json_areas: bool = True
    merge_repeated: bool = True
    min_truth_area: int = 0


VIPSEG_RULES = Rules()
VIPER_RULES = Rules(json_areas=False, merge_repeated=False, min_truth_area=32 * 32)  # ``tools/dataset/viper.py``
IMAGE_RULES = Rules(merge_repeated=False)  # panopticapi


def count_video(
    tables: Sequence[FrameTable], windows: Sequence[int], rules: Rules = VIPSEG_RULES
) -> dict[int, WindowCounts]:
    """Counts of one video: window length in frames -> counts.

    A window longer than the video contributes no counts.
    """
    result = {}
    for length in windows:
        total = WindowCounts()
        for start in range(len(tables) - length + 1):
            total += count_window(tables[start : start + length], rules)
        result[length] = total
    return result


def merge(entries: Iterable[dict[int, Listed]]) -> dict[int, Listed]:
    """Merges the segments of a window by id.

    Areas are summed; class and crowd flag are taken from the first frame with the id.
    """
    merged: dict[int, Listed] = {}
    for frame in entries:
        for segment_id, entry in frame.items():
            first = merged.get(segment_id)
            merged[segment_id] = (
                entry
                if first is None
                else Listed(first.category, first.last_category, first.area + entry.area, first.is_crowd)
            )
    return merged


def count_window(tables: Sequence[FrameTable], rules: Rules = VIPSEG_RULES) -> WindowCounts:
    """Matches the predicted and ground-truth tubes of one window.

    As in the official VPQ script of VIPSeg, classes are taken from the first frame, and predictions on void are not
    penalised.

    Raises:
        ValueError: The area of a segment in the JSON file is smaller than its number of pixels in the PNG.
    """
    gt_segments, predicted_segments = merge(t.truth for t in tables), merge(t.predicted for t in tables)
    joint: dict[tuple[int, int], int] = {}
    for table in tables:
        for pair, count in table.joint.items():
            joint[pair] = joint.get(pair, 0) + count
    gt_pixels, predicted_pixels = pixel_counts(joint, 0), pixel_counts(joint, 1)
    small = {g for g in gt_segments if gt_pixels.get(g, 0) < rules.min_truth_area}
    results: list[tuple[int, ClassCounts]] = []
    matched_gt, matched_predicted = set(), set()
    for (g, p), count in joint.items():
        if (
            g not in gt_segments
            or p not in predicted_segments
            or g in small
            or gt_segments[g].is_crowd
            or gt_segments[g].category != predicted_segments[p].category
        ):
            continue
        gt_area = gt_segments[g].area if rules.json_areas else gt_pixels[g]
        union = gt_area + predicted_pixels[p] - count - joint.get((VOID_SEGMENT, p), 0)
        if union < count:
            raise ValueError(
                f'the JSON file states an area of {gt_area} for id {g}, which shares {count} pixels with prediction '
                f'{p}; a stated area must not be smaller than the number of pixels'
            )
        iou = count / union
        if iou > 0.5:
            results.append((gt_segments[g].category, ClassCounts(iou=iou, tp=1)))
            matched_gt.add(g)
            matched_predicted.add(p)
    results += [
        (entry.category, ClassCounts(fn=1))
        for g, entry in gt_segments.items()
        if g not in matched_gt and g not in small and not entry.is_crowd
    ]
    for p, forgiven in paired_values(joint, gt_segments, predicted_segments).items():
        if p not in matched_predicted and not forgiven / predicted_pixels[p] > 0.5:
            results.append((predicted_segments[p].category, ClassCounts(fp=1)))
    return sum_counts(results)


def sum_counts(found: Iterable[tuple[int, ClassCounts]]) -> WindowCounts:
    """Sums (class, counts) pairs per class."""
    total: dict[int, ClassCounts] = {}
    for category, counts in found:
        total[category] = total[category] + counts if category in total else counts
    return WindowCounts(total)


def summarize_vpq(
    counts: dict[int, WindowCounts], is_thing: dict[int, bool], windows: dict[str, int], averaged: Sequence[str]
) -> dict[str, float]:
    """``VPQ``, ``VPQ_Th``, ``VPQ_St``, and the value of each window under its name, also with ``_Th`` and ``_St``.

    If more windows are counted than averaged, as for VIPSeg, ``VPQ_12468`` is the mean over all windows, which the
    VIPSeg script prints.

    Args:
        counts: Window length -> counts of the whole dataset.
        is_thing: Category id -> whether it is a thing.
        windows: Window name -> length in frames.
        averaged: Names of the windows averaged in VPQ.
    """
    groups = dict(
        zip(
            ('', '_Th', '_St'),
            (list(is_thing), [c for c in is_thing if is_thing[c]], [c for c in is_thing if not is_thing[c]]),
        )
    )
    result = {}
    for suffix, categories in groups.items():
        values = {name: counts[k].mean(categories)[0] for name, k in windows.items()}
        result[f'VPQ{suffix}'] = float(np.mean([values[name] for name in averaged]))
        result.update({f'{name}{suffix}': value for name, value in values.items()})
    if len(windows) > len(averaged):
        result['VPQ_12468'] = float(np.mean([result[name] for name in windows]))
    return result
