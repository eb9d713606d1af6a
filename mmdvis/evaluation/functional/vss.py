"""Video semantic segmentation as the public scripts of VSPW score it: confusion of pixels, and consistency in time."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

NUM_CLASSES = 124
LENGTHS = (8, 16)  # of VC


@dataclass(frozen=True, eq=False)
class VSSCounts:
    """Counts of videos; add up with ``+``.

    Attributes:
        confusion (K, K + 1): int64 pixels with a valid truth, rows truth, columns prediction, the last for void.
        consistency: length n -> for every window of n frames the pixels whose truth is constant, and those of them whose
            prediction is constant, too.
    """

    confusion: np.ndarray
    consistency: dict[int, tuple[tuple[int, int], ...]]

    def __add__(self, other: 'VSSCounts') -> 'VSSCounts':
        return VSSCounts(
            self.confusion + other.confusion,
            {n: windows + other.consistency[n] for n, windows in self.consistency.items()},
        )


def confusion_of(truth: np.ndarray, predicted: np.ndarray, num_classes: int = NUM_CLASSES) -> np.ndarray:
    """The confusion (K, K + 1) of one frame.

    Args:
        truth (H, W): raw values: 0 and 255 void, class + 1; values beyond the classes are dropped.
        predicted (H, W): classes; other values are a miss of the true class, as void is.
    """
    valid = (truth >= 1) & (truth <= num_classes)
    rows = truth[valid].astype(np.int64) - 1
    columns = np.minimum(predicted[valid].astype(np.int64), num_classes)
    counts = np.bincount(rows * (num_classes + 1) + columns, minlength=num_classes * (num_classes + 1))
    return counts.reshape(num_classes, num_classes + 1)


def count_vss_video(
    frames: Iterable[tuple[np.ndarray, np.ndarray]], lengths: tuple[int, ...] = LENGTHS, num_classes: int = NUM_CLASSES
) -> VSSCounts:
    """Counts of one video, two frames of which are in memory at a time.

    A pixel is constant over the n frames up to t if it was equal to its predecessor n - 1 times in a row, so a run length a
    pixel serves all n. Void is a label as any other here, and the last window of a video is left out (VSPW's
    ``VC_perclip.py``).

    Args:
        frames: raw truth and prediction (H, W) of each frame.
        lengths: n of VC_n.
        num_classes: K.
    """
    confusion = np.zeros((num_classes, num_classes + 1), np.int64)
    windows: dict[int, list[tuple[int, int]]] = {n: [] for n in lengths}
    last, runs = None, None
    for t, pair in enumerate(frames):
        confusion += confusion_of(*pair, num_classes)
        runs = (
            [np.zeros(x.shape, np.int32) for x in pair]
            if last is None
            else [np.where(x == before, run + 1, 0) for x, before, run in zip(pair, last, runs)]
        )
        last = pair
        for n in lengths:
            if t >= n - 1:
                constant = runs[0] >= n - 1
                windows[n].append((int(constant.sum()), int((constant & (runs[1] >= n - 1)).sum())))
    return VSSCounts(confusion, {n: tuple(found[:-1]) for n, found in windows.items()})


def summarize_vss(counts: VSSCounts) -> dict[str, float]:
    """``mIoU``, ``fwIoU``, ``pixel_acc``, ``mean_class_acc`` and ``VC{n}``, all in [0, 1]; NaN where nothing was counted.

    mIoU and class accuracy are means over the classes that the truth has. ``VC16_with_VC8`` is what the script of DVIS++
    prints as VC16: it does not empty its list between the two lengths. ``mIoU_mmseg`` averages over predicted classes, too.
    """
    rows, columns = counts.confusion.sum(1), counts.confusion[:, :-1].sum(0)
    hit = np.diag(counts.confusion)
    union, seen, total = rows + columns - hit, rows > 0, rows.sum()
    with np.errstate(invalid='ignore', divide='ignore'):
        iou = hit / union
        result = dict(
            mIoU=mean_in_percent(iou[seen]),
            fwIoU=float((rows / total * np.nan_to_num(iou)).sum()),
            pixel_acc=float(hit.sum() / total),
            mean_class_acc=mean_in_percent((hit / rows)[seen]),
            mIoU_mmseg=mean_in_percent(iou[union > 0]),
        )
    values = {
        n: [same / constant for constant, same in windows if constant] for n, windows in counts.consistency.items()
    }
    result.update({f'VC{n}': mean_in_percent(np.array(found)) for n, found in values.items()})
    if {8, 16} <= set(values):
        result['VC16_with_VC8'] = mean_in_percent(np.array(values[8] + values[16]))
    return result


def mean_in_percent(values: np.ndarray) -> float:
    """The mean; NaN of nothing."""
    return float(np.mean(values)) if len(values) else float('nan')


def per_class_iou(counts: VSSCounts) -> dict[int, dict[str, float]]:
    """Class -> its IoU and accuracy, for those that occur."""
    rows, columns, hit = counts.confusion.sum(1), counts.confusion[:, :-1].sum(0), np.diag(counts.confusion)
    return {
        int(c): dict(
            IoU=hit[c] / (rows[c] + columns[c] - hit[c]), accuracy=hit[c] / rows[c] if rows[c] else float('nan')
        )
        for c in np.flatnonzero(rows + columns)
    }
