"""Average precision of tracks, equivalent to the evaluation code of YouTube-VIS and OVIS."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = dict(all=(0, 1e10), small=(0, 128**2), medium=(128**2, 256**2), large=(256**2, 1e10))  # mean pixels per frame
OCCLUSIONS = dict(light=(0.0, 0.25), medium=(0.25, 0.5), heavy=(0.5, 1.0))  # both bounds are inclusive
OCCLUSION_VALUES = dict(no_occlusion=0.0, slight_occlusion=0.25, severe_occlusion=0.75)
MAX_DETECTIONS = (1, 10, 100)


@dataclass(frozen=True, eq=False)
class Pair:
    """Detections and ground-truth tracks of one category in one video.

    Attributes:
        scores: Detection scores (D,), sorted in descending order; at most 100.
        sizes: Mean area (D,) in pixels of the detections, over the frames where the mask is not empty.
        iou: IoU (D, G) of whole tracks.
        true_sizes: Mean area (G,) in pixels of the ground-truth tracks.
        crowd: Crowd flags (G,) bool of the ground-truth tracks.
        occlusion: Occlusion (G,) in [0, 1] of the ground-truth tracks; NaN if unknown.
        nameless: Whether the annotation id is 0 (G,) bool. The public evaluation code treats a match with id 0 as no
            match.
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
    """Result of matching one :class:`Pair` within one size or occlusion range.

    Attributes:
        scores: Detection scores (D,).
        hit: Whether each detection is a true positive (10, D) bool, for each IoU threshold.
        ignored: Whether each detection is ignored (10, D) bool, for each IoU threshold.
        num_truth: Number of ground-truth tracks within the range.
    """

    scores: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    num_truth: int


def run_length(mask: dict | None, size: tuple[int, int]) -> dict | None:
    """Converts a run-length mask to the compressed form of pycocotools; None stays None."""
    if mask is None:
        return None
    if isinstance(mask['counts'], list):
        return coco_mask.frPyObjects(mask, *size)
    return dict(mask, counts=mask['counts'].encode() if isinstance(mask['counts'], str) else mask['counts'])


def track_ious(detections: Sequence[Sequence[dict | None]], truths: Sequence[Sequence[dict | None]]) -> np.ndarray:
    """IoU (D, G) of tracks, with intersections and unions summed over all frames.

    Each track is a list with one run-length mask or None per frame.
    """
    total_intersection, total_union = np.zeros((2, len(detections), len(truths)))
    for t in range(min((len(track) for track in (*detections, *truths)), default=0)):
        present = [
            [(k, track[t]) for k, track in enumerate(tracks) if track[t] is not None] for tracks in (detections, truths)
        ]
        areas = [np.zeros(len(tracks)) for tracks in (detections, truths)]
        for side, area in zip(present, areas):
            if side:
                area[[k for k, _ in side]] = coco_mask.area([mask for _, mask in side])
        intersection = np.zeros_like(total_intersection)
        if present[0] and present[1]:
            iou = coco_mask.iou([m for _, m in present[0]], [m for _, m in present[1]], [0] * len(present[1]))
            rows, columns = np.ix_([k for k, _ in present[0]], [k for k, _ in present[1]])
            sums = areas[0][rows] + areas[1][columns]
            intersection[rows, columns] = np.rint(iou * sums / (1 + iou))  # i = iou * (a + b - i) is an integer
        total_intersection += intersection
        total_union += areas[0][:, None] + areas[1][None] - intersection
    return np.divide(total_intersection, total_union, out=np.zeros_like(total_intersection), where=total_union > 0)


def occlusion_score(levels: Sequence[str | None] | None) -> float:
    """Mean of the upper half of a track's occlusion values; NaN if the ground truth has none."""
    values = sorted((OCCLUSION_VALUES[level] for level in levels or () if level is not None), reverse=True)
    return float(np.mean(values[: (len(values) + 1) // 2])) if values else float('nan')


def mean_size(areas: Iterable[float | None]) -> float:
    """Mean area over the frames in which a track has pixels; 0 if it has none."""
    nonempty = [area for area in areas if area]
    return float(np.mean(nonempty)) if nonempty else 0.0


def make_pair(size: tuple[int, int], truths: Sequence[dict], detections: Sequence[dict]) -> Pair:
    """Compares the detections and ground-truth tracks of one category in one video.

    Args:
        size: Height and width of the video.
        truths: Annotations with ``segmentations``, ``areas``, ``iscrowd`` and, for OVIS, ``occlusion``.
        detections: Predictions with ``score`` and ``segmentations``.
    """
    order = np.argsort([-d['score'] for d in detections], kind='mergesort')[: MAX_DETECTIONS[-1]]
    detections = [detections[k] for k in order]
    predicted_masks, gt_masks = (
        [[run_length(mask, size) for mask in track['segmentations']] for track in tracks]
        for tracks in (detections, truths)
    )
    sizes = [mean_size(float(coco_mask.area(mask)) for mask in track if mask is not None) for track in predicted_masks]
    crowd = np.array([bool(t.get('iscrowd', 0)) for t in truths], bool)
    return Pair(
        np.array([d['score'] for d in detections], float),
        np.array(sizes),
        track_ious(predicted_masks, gt_masks),
        np.array([mean_size(t['areas'] or ()) for t in truths]),
        crowd,
        np.array([occlusion_score(t.get('occlusion')) for t in truths], float),
        np.array([t.get('id') == 0 for t in truths], bool),
    )


def match(pair: Pair, area: tuple[float, float], occlusion: tuple[float, float] | None = None) -> Matched:
    """Greedy matching at all IoU thresholds.

    In the order of descending scores, each detection is matched to the unmatched ground-truth track with the highest
    IoU. A ground-truth track with the id 0 is matched, but its detection counts as a false positive, as in the public
    evaluation code.

    Ground-truth tracks that do not count (crowds, or size or occlusion outside the range) are considered last, and
    crowds can be matched repeatedly. Detections matched to them, and unmatched detections with a size outside the
    range, are ignored.

    Args:
        pair: Detections and ground-truth tracks.
        area: Smallest and largest mean area in pixels.
        occlusion: Smallest and largest occlusion; None for no restriction.
    """
    is_excluded = pair.crowd | (pair.true_sizes < area[0]) | (pair.true_sizes > area[1])
    if occlusion is not None:
        is_excluded = is_excluded | ~((pair.occlusion >= occlusion[0]) & (pair.occlusion <= occlusion[1]))
    order = np.argsort(is_excluded, kind='mergesort')
    hit, ignored = np.zeros((2, len(THRESHOLDS), len(pair.scores)), bool)
    for k, threshold in enumerate(THRESHOLDS):
        is_matched = np.zeros(len(is_excluded), bool)
        for d in range(len(pair.scores)):
            best_iou, best_row = min(threshold, 1 - 1e-10), -1
            for g in order:
                if is_matched[g] and not pair.crowd[g]:
                    continue
                if best_row >= 0 and not is_excluded[best_row] and is_excluded[g]:
                    break
                if pair.iou[d, g] >= best_iou:
                    best_iou, best_row = pair.iou[d, g], g
            if best_row >= 0:
                is_matched[best_row], ignored[k, d] = True, is_excluded[best_row]
                hit[k, d] = not is_excluded[best_row] and not pair.nameless[best_row]
    outside = (pair.sizes < area[0]) | (pair.sizes > area[1])
    return Matched(pair.scores, hit, ignored | (~hit & ~ignored & outside), int((~is_excluded).sum()))


def curve(videos: Sequence[Matched], limit: int = MAX_DETECTIONS[-1]) -> tuple[np.ndarray, np.ndarray] | None:
    """Precision (10, 101) and recall (10,) of one category; None if no ground-truth track counts.

    Args:
        videos: Matching results of all videos, in the order of their ids.
        limit: Maximum number of detections per video.
    """
    num_truth = sum(video.num_truth for video in videos)
    if not num_truth:
        return None
    order = np.argsort(-np.concatenate([v.scores[:limit] for v in videos]), kind='mergesort')
    hits, ignored = (
        np.concatenate([getattr(v, name)[:, :limit] for v in videos], 1)[:, order] for name in ('hit', 'ignored')
    )
    tp, fp = np.cumsum(hits, 1).astype(float), np.cumsum(~hits & ~ignored, 1).astype(float)
    recall = tp / num_truth
    precision = np.maximum.accumulate((tp / np.maximum(tp + fp, np.spacing(1)))[:, ::-1], 1)[:, ::-1]
    sampled = np.zeros((len(THRESHOLDS), len(RECALLS)))
    for k in range(len(THRESHOLDS)):
        positions = np.searchsorted(recall[k], RECALLS, side='left')
        is_reached = positions < recall.shape[1]
        sampled[k, is_reached] = precision[k, positions[is_reached]]
    return sampled, recall[:, -1] if recall.shape[1] else np.zeros(len(THRESHOLDS))


def summarize_ap(pairs: dict[int, list[Pair]], occlusion: bool = False) -> dict[str, float]:
    """Average precision and recall in [0, 1]; -1 where the ground truth contains no object.

    The result contains ``AP``, ``AP50``, ``AP75``, ``AR1``, ``AR10``, ``AR100``, ``AP_*`` and ``AR_*`` for small,
    medium and large tracks and, for OVIS, ``AP_*`` and ``AR_*`` for light, moderate and heavy occlusion.

    Args:
        pairs: Category -> pairs, with videos in the order of their ids.
        occlusion: Whether to add the metrics by occlusion.
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
    for suffix, bounds in ranges.items():
        matched = {c: [match(pair, *bounds) for pair in video_pairs] for c, video_pairs in pairs.items()}
        curves = [
            class_curve for class_curve in (curve(videos) for videos in matched.values()) if class_curve is not None
        ]
        result[f'AP{suffix}'] = mean_of_valid([precision for precision, _ in curves])
        if suffix:
            result[f'AR{suffix}'] = mean_of_valid([recall for _, recall in curves])
            continue
        result['AP50'] = mean_of_valid([precision[0] for precision, _ in curves])
        result['AP75'] = mean_of_valid([precision[5] for precision, _ in curves])
        *limits, largest = MAX_DETECTIONS
        result[f'AR{largest}'] = mean_of_valid([recall for _, recall in curves])
        for limit in limits:
            limited = (curve(videos, limit) for videos in matched.values())
            result[f'AR{limit}'] = mean_of_valid([pair[1] for pair in limited if pair is not None])
    return result


def mean_of_valid(values: list[np.ndarray]) -> float:
    """Mean of all numbers; -1 if the list is empty."""
    return float(np.mean(values)) if values else -1.0


def by_length(parts: Sequence[dict[int, list[Pair]]]) -> dict[str, float]:
    """Metrics of short videos (``*_S``), of long videos (``*_L``), and the mean of both AP (``AP_SL``).

    For each length these are ``AP``, ``AP50``, ``AP75``, ``AR1`` and ``AR10``, which the server of YouTube-VIS 2022
    reports. A value is -1 where the ground truth contains no object.

    Args:
        parts: Category -> pairs, for the short videos and for the long videos.
    """
    short, long = (summarize_ap(pairs) for pairs in parts)
    result = {
        f'{name}_{suffix}': part[name]
        for suffix, part in (('S', short), ('L', long))
        for name in ('AP', 'AP50', 'AP75', 'AR1', 'AR10')
    }
    both = short['AP'], long['AP']
    return dict(result, AP_SL=-1.0 if -1 in both else sum(both) / 2)


def per_class_ap(pairs: dict[int, list[Pair]]) -> dict[int, float]:
    """Category -> AP; NaN where the ground truth contains no object."""
    curves = {c: curve([match(pair, AREAS['all']) for pair in values]) for c, values in pairs.items()}
    return {c: float('nan') if values is None else float(values[0].mean()) for c, values in curves.items()}
