"""Video panoptic quality (Kim et al., CVPR 2020) as VIPSeg's ``eval_vpq_vspw.py`` computes it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .frame_table import UNLISTED, VOID_SEGMENT, FrameTable, Listed, paired_values, pixel_counts


@dataclass(frozen=True)
class ClassCounts:
    """Matches of one class; windows and videos add up with ``+``."""

    iou: float = 0.0
    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: 'ClassCounts') -> 'ClassCounts':
        return ClassCounts(self.iou + other.iou, self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def quality(self) -> tuple[float, float, float]:
        """PQ, SQ and RQ in [0, 1]; NaN for a class that never occurs."""
        total = self.tp + 0.5 * self.fp + 0.5 * self.fn
        if total == 0:
            return (np.nan,) * 3
        return self.iou / total, self.iou / self.tp if self.tp else 0.0, self.tp / total


@dataclass(frozen=True)
class WindowCounts:
    """Counts by class for windows of one length."""

    classes: dict[int, ClassCounts] = field(default_factory=dict)

    def __add__(self, other: 'WindowCounts') -> 'WindowCounts':
        names = {**self.classes, **other.classes}
        empty = ClassCounts()
        return WindowCounts({c: self.classes.get(c, empty) + other.classes.get(c, empty) for c in names})

    def mean(self, categories: Iterable[int]) -> tuple[float, float, float]:
        """Means of PQ, SQ and RQ over those of ``categories`` that occur; NaN if none does."""
        values = [self.classes[c].quality for c in categories if c in self.classes]
        values = [value for value in values if not np.isnan(value[0])]
        return tuple(np.mean(values, 0).tolist()) if values else (np.nan,) * 3


def check_prediction(table: FrameTable, categories: Iterable[int], where: str) -> None:
    """Raises ValueError if the prediction's map and list disagree; ``where`` names the video and the frame."""
    pixels = pixel_counts(table.joint, 1)
    if UNLISTED in pixels:
        raise ValueError(
            f'{where}: {pixels[UNLISTED]} predicted pixels have an id, such as {table.stray}, that segments_info '
            'does not list'
        )
    for segment_id, entry in table.predicted.items():
        if segment_id not in pixels:
            raise ValueError(f'{where}: segments_info lists id {segment_id}, no predicted pixel has it')
        if entry.category not in categories:
            raise ValueError(
                f'{where}: predicted category {entry.category} of id {segment_id} is not among the classes'
            )


@dataclass(frozen=True)
class Rules:
    """In what the public scripts differ.

    Attributes:
        json_areas: areas of true tubes are those that the json states, not pixels.
        merge_repeated: entries of a frame with one id are one segment; else the last of them counts.
        min_truth_area: true tubes with fewer pixels in the window are neither found nor missed.
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
    """Counts of one video: window length in frames -> counts; a video that is shorter than a window adds nothing to it."""
    result = {}
    for length in windows:
        total = WindowCounts()
        for start in range(len(tables) - length + 1):
            total += count_window(tables[start : start + length], rules)
        result[length] = total
    return result


def merge(entries: Iterable[dict[int, Listed]]) -> dict[int, Listed]:
    """Segments of a window: areas add up, class and crowd flag are those of the first frame with the id."""
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
    """Matches the tubes of one window (``spec`` of the public script: classes of the first frame, void forgiven)."""
    truth, predicted = merge(t.truth for t in tables), merge(t.predicted for t in tables)
    joint: dict[tuple[int, int], int] = {}
    for table in tables:
        for pair, count in table.joint.items():
            joint[pair] = joint.get(pair, 0) + count
    pixels, area = pixel_counts(joint, 0), pixel_counts(joint, 1)
    small = {g for g in truth if pixels.get(g, 0) < rules.min_truth_area}
    found: list[tuple[int, ClassCounts]] = []
    matched_truth, matched = set(), set()
    for (g, p), count in joint.items():
        if (
            g not in truth
            or p not in predicted
            or g in small
            or truth[g].is_crowd
            or truth[g].category != predicted[p].category
        ):
            continue
        true_area = truth[g].area if rules.json_areas else pixels[g]
        union = true_area + area[p] - count - joint.get((VOID_SEGMENT, p), 0)
        if union < count:
            raise ValueError(
                f'the json states an area of {true_area} for id {g}, which shares {count} pixels with prediction '
                f'{p}; a stated area must not be smaller than the pixels'
            )
        iou = count / union
        if iou > 0.5:
            found.append((truth[g].category, ClassCounts(iou=iou, tp=1)))
            matched_truth.add(g)
            matched.add(p)
    found += [
        (entry.category, ClassCounts(fn=1))
        for g, entry in truth.items()
        if g not in matched_truth and g not in small and not entry.is_crowd
    ]
    for p, forgiven in paired_values(joint, truth, predicted).items():
        if p not in matched and not forgiven / area[p] > 0.5:
            found.append((predicted[p].category, ClassCounts(fp=1)))
    return sum_counts(found)


def sum_counts(found: Iterable[tuple[int, ClassCounts]]) -> WindowCounts:
    """Adds up (class, counts) pairs."""
    total: dict[int, ClassCounts] = {}
    for category, counts in found:
        total[category] = total[category] + counts if category in total else counts
    return WindowCounts(total)


def summarize_vpq(
    counts: dict[int, WindowCounts], is_thing: dict[int, bool], windows: dict[str, int], averaged: Sequence[str]
) -> dict[str, float]:
    """``VPQ``, ``VPQ_Th``, ``VPQ_St``, and every window under its own name, and with ``_Th`` and ``_St``.

    Where more windows are counted than averaged, as for VIPSeg, ``VPQ_12468`` is the mean of all, which its script prints.

    Args:
        counts: window length -> counts of the whole set.
        is_thing: category id -> whether it is a thing.
        windows: name -> length.
        averaged: names of the windows that enter VPQ.
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
