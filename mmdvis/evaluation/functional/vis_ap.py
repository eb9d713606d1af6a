"""Average precision of tracks, as the evaluations of YouTube-VIS and OVIS compute it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = dict(all=(0, 1e10), small=(0, 128**2), medium=(128**2, 256**2), large=(256**2, 1e10))  # mean pixels a frame
OCCLUSIONS = dict(light=(0.0, 0.25), medium=(0.25, 0.5), heavy=(0.5, 1.0))  # both ends included
OCCLUSION_VALUES = dict(no_occlusion=0.0, slight_occlusion=0.25, severe_occlusion=0.75)
MAX_DETECTIONS = (1, 10, 100)


@dataclass(frozen=True, eq=False)
class Pair:
    """The detections and the true tracks of one category in one video.

    Attributes:
        scores (D,): falling, at most 100; sizes (D,): mean pixels over the frames with any.
        iou (D, G): of whole tracks.
        true_sizes (G,), crowd (G,) bool; occlusion (G,): in [0, 1], NaN where it is not known.
        nameless (G,): bool, whether the annotation's id is 0, which the public evaluations take for no match.
    """

    scores: np.ndarray
    sizes: np.ndarray
    iou: np.ndarray
    true_sizes: np.ndarray
    crowd: np.ndarray
    occlusion: np.ndarray
    nameless: np.ndarray


@dataclass(frozen=True, eq=False)
class Matched:
    """What matching one :class:`Pair` in one range gave.

    Attributes:
        scores (D,); hit (10, D) bool: matched to a true track that counts; ignored (10, D) bool.
        num_truth: true tracks that count.
    """

    scores: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    num_truth: int


def run_length(mask: dict | None, size: tuple[int, int]) -> dict | None:
    """A run-length mask in pycocotools' compressed form; lists of counts are compressed."""
    if mask is None:
        return None
    if isinstance(mask['counts'], list):
        return coco_mask.frPyObjects(mask, *size)
    return dict(mask, counts=mask['counts'].encode() if isinstance(mask['counts'], str) else mask['counts'])


def track_ious(detections: Sequence[Sequence[dict | None]], truths: Sequence[Sequence[dict | None]]) -> np.ndarray:
    """IoU (D, G) of tracks, each a list of run-length masks or None: intersections and unions are summed over frames."""
    shared, union = np.zeros((2, len(detections), len(truths)))
    for t in range(min((len(track) for track in (*detections, *truths)), default=0)):
        here = [
            [(k, track[t]) for k, track in enumerate(tracks) if track[t] is not None] for tracks in (detections, truths)
        ]
        areas = [np.zeros(len(tracks)) for tracks in (detections, truths)]
        for side, area in zip(here, areas):
            if side:
                area[[k for k, _ in side]] = coco_mask.area([mask for _, mask in side])
        both = np.zeros_like(shared)
        if here[0] and here[1]:
            iou = coco_mask.iou([m for _, m in here[0]], [m for _, m in here[1]], [0] * len(here[1]))
            rows, columns = np.ix_([k for k, _ in here[0]], [k for k, _ in here[1]])
            sums = areas[0][rows] + areas[1][columns]
            both[rows, columns] = np.rint(iou * sums / (1 + iou))  # i = iou * (a + b - i), a whole number
        shared += both
        union += areas[0][:, None] + areas[1][None] - both
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def occlusion_score(levels: Sequence[str | None] | None) -> float:
    """Mean of the upper half of a track's occlusion values; NaN where the truth has none."""
    values = sorted((OCCLUSION_VALUES[level] for level in levels or () if level is not None), reverse=True)
    return float(np.mean(values[: (len(values) + 1) // 2])) if values else float('nan')


def mean_size(areas: Iterable[float | None]) -> float:
    """Mean over the frames in which a track has pixels; 0 if it has none."""
    found = [area for area in areas if area]
    return float(np.mean(found)) if found else 0.0


def make_pair(size: tuple[int, int], truths: Sequence[dict], detections: Sequence[dict]) -> Pair:
    """Compares one category in one video.

    Args:
        size: height and width of the video.
        truths: annotations with ``segmentations``, ``areas``, ``iscrowd`` and, for OVIS, ``occlusion``.
        detections: results with ``score`` and ``segmentations``.
    """
    order = np.argsort([-d['score'] for d in detections], kind='mergesort')[: MAX_DETECTIONS[-1]]
    detections = [detections[k] for k in order]
    found, true = (
        [[run_length(mask, size) for mask in track['segmentations']] for track in tracks]
        for tracks in (detections, truths)
    )
    sizes = [mean_size(float(coco_mask.area(mask)) for mask in track if mask is not None) for track in found]
    crowd = np.array([bool(t.get('iscrowd', 0)) for t in truths], bool)
    return Pair(
        np.array([d['score'] for d in detections], float),
        np.array(sizes),
        track_ious(found, true),
        np.array([mean_size(t['areas'] or ()) for t in truths]),
        crowd,
        np.array([occlusion_score(t.get('occlusion')) for t in truths], float),
        np.array([t.get('id') == 0 for t in truths], bool),
    )


def match(pair: Pair, area: tuple[float, float], occlusion: tuple[float, float] | None = None) -> Matched:
    """Greedy matching at all thresholds: each detection in the order of scores takes the best free true track.

    A true track with the id 0 is taken, but its detection counts as false, as in the public evaluations.

    True tracks that do not count (crowd, size or occlusion outside the range) come last, and crowds may be taken again;
    detections on them, and free ones of a size outside the range, are ignored.
    """
    off = pair.crowd | (pair.true_sizes < area[0]) | (pair.true_sizes > area[1])
    if occlusion is not None:
        off = off | ~((pair.occlusion >= occlusion[0]) & (pair.occlusion <= occlusion[1]))
    order = np.argsort(off, kind='mergesort')
    hit, ignored = np.zeros((2, len(THRESHOLDS), len(pair.scores)), bool)
    for k, threshold in enumerate(THRESHOLDS):
        taken = np.zeros(len(off), bool)
        for d in range(len(pair.scores)):
            best, found = min(threshold, 1 - 1e-10), -1
            for g in order:
                if taken[g] and not pair.crowd[g]:
                    continue
                if found >= 0 and not off[found] and off[g]:
                    break
                if pair.iou[d, g] >= best:
                    best, found = pair.iou[d, g], g
            if found >= 0:
                taken[found], ignored[k, d] = True, off[found]
                hit[k, d] = not off[found] and not pair.nameless[found]
    outside = (pair.sizes < area[0]) | (pair.sizes > area[1])
    return Matched(pair.scores, hit, ignored | (~hit & ~ignored & outside), int((~off).sum()))


def curve(videos: Sequence[Matched], limit: int = MAX_DETECTIONS[-1]) -> tuple[np.ndarray, np.ndarray] | None:
    """Precision (10, 101) and recall (10,) of one category; None if the truth has nothing that counts.

    Args:
        videos: of all videos, in the order of their ids.
        limit: detections of a video that are looked at.
    """
    num_truth = sum(video.num_truth for video in videos)
    if not num_truth:
        return None
    order = np.argsort(-np.concatenate([v.scores[:limit] for v in videos]), kind='mergesort')
    hit, ignored = (
        np.concatenate([getattr(v, name)[:, :limit] for v in videos], 1)[:, order] for name in ('hit', 'ignored')
    )
    tp, fp = np.cumsum(hit, 1).astype(float), np.cumsum(~hit & ~ignored, 1).astype(float)
    recall = tp / num_truth
    precision = np.maximum.accumulate((tp / np.maximum(tp + fp, np.spacing(1)))[:, ::-1], 1)[:, ::-1]
    sampled = np.zeros((len(THRESHOLDS), len(RECALLS)))
    for k in range(len(THRESHOLDS)):
        place = np.searchsorted(recall[k], RECALLS, side='left')
        reached = place < recall.shape[1]
        sampled[k, reached] = precision[k, place[reached]]
    return sampled, recall[:, -1] if recall.shape[1] else np.zeros(len(THRESHOLDS))


def summarize_ap(pairs: dict[int, list[Pair]], occlusion: bool = False) -> dict[str, float]:
    """``AP``, ``AP50``, ``AP75``, ``AP_{small, medium, large}``, ``AR1``, ``AR10``, ``AR100``, ``AR_*`` and for OVIS ``AP_*``
    and ``AR_{light, moderate, heavy}``, in [0, 1]; -1 where the truth has nothing to find.

    Args:
        pairs: category -> its pairs, videos in the order of their ids.
        occlusion: also by occlusion.
    """
    ranges: dict[str, tuple[Any, ...]] = {'' if name == 'all' else f'_{name}': (area,) for name, area in AREAS.items()}
    if occlusion:
        ranges.update(
            {
                f'_{"moderate" if name == "medium" else name}': (AREAS['all'], level)
                for name, level in OCCLUSIONS.items()
            }
        )
    result = {}
    for suffix, limits in ranges.items():
        matched = {c: [match(pair, *limits) for pair in found] for c, found in pairs.items()}
        curves = [x for x in (curve(videos) for videos in matched.values()) if x is not None]
        result[f'AP{suffix}'] = mean_of_valid([precision for precision, _ in curves])
        if suffix:
            result[f'AR{suffix}'] = mean_of_valid([recall for _, recall in curves])
            continue
        result['AP50'] = mean_of_valid([precision[0] for precision, _ in curves])
        result['AP75'] = mean_of_valid([precision[5] for precision, _ in curves])
        for number in MAX_DETECTIONS:
            short = [x for x in (curve(videos, number) for videos in matched.values()) if x is not None]
            result[f'AR{number}'] = mean_of_valid([recall for _, recall in short])
    return result


def mean_of_valid(values: list[np.ndarray]) -> float:
    """The mean of all numbers; -1 of nothing."""
    return float(np.mean(values)) if values else -1.0


def by_length(parts: Sequence[dict[int, list[Pair]]]) -> dict[str, float]:
    """``AP_S`` and ``AP_L`` of short and of long videos, and ``AP_SL``, their mean; -1 where there is nothing to find.

    Args:
        parts: category -> pairs, of the short and of the long videos.
    """
    short, long = (summarize_ap(pairs)['AP'] for pairs in parts)
    return dict(AP_S=short, AP_L=long, AP_SL=-1.0 if -1 in (short, long) else (short + long) / 2)


def per_class_ap(pairs: dict[int, list[Pair]]) -> dict[int, float]:
    """Category -> AP; NaN where the truth has nothing to find."""
    curves = {c: curve([match(pair, AREAS['all']) for pair in found]) for c, found in pairs.items()}
    return {c: float('nan') if found is None else float(found[0].mean()) for c, found in curves.items()}
