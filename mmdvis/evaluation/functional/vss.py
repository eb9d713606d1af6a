"""Video semantic segmentation metrics of the VSPW scripts: confusion matrix and video consistency."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

NUM_CLASSES = 124
LENGTHS = (8, 16)  # window lengths of VC (video consistency)


@dataclass(frozen=True, eq=False)
class VSSCounts:
    """Counts of one or more videos; counts are added with ``+``.

    Attributes:
        confusion: Counts (K, K + 1) int64 of the pixels with valid ground truth. Rows are ground truth, columns are
            prediction, the last column is void.
        consistency: Window length n -> for each window of n frames, the number of pixels whose ground truth is
            constant, and how many of them also have a constant prediction.
    """

    confusion: np.ndarray
    consistency: dict[int, tuple[tuple[int, int], ...]]

    def __add__(self, other: 'VSSCounts') -> 'VSSCounts':
        return VSSCounts(
            self.confusion + other.confusion,
            {n: windows + other.consistency[n] for n, windows in self.consistency.items()},
        )


def confusion_of(truth: np.ndarray, predicted: np.ndarray, num_classes: int = NUM_CLASSES) -> np.ndarray:
    """Confusion matrix (K, K + 1) of one frame.

    Args:
        truth: Raw ground-truth values (H, W): class + 1; 0 and 255 are void, and values beyond the classes are ignored.
        predicted: Predicted classes (H, W); all other values, void included, count as a wrong prediction.
        num_classes: Number of classes K.
    """
    valid = (truth >= 1) & (truth <= num_classes)
    rows = truth[valid].astype(np.int64) - 1
    columns = np.minimum(predicted[valid].astype(np.int64), num_classes)
    counts = np.bincount(rows * (num_classes + 1) + columns, minlength=num_classes * (num_classes + 1))
    return counts.reshape(num_classes, num_classes + 1)


def count_vss_video(
    frames: Iterable[tuple[np.ndarray, np.ndarray]], lengths: tuple[int, ...] = LENGTHS, num_classes: int = NUM_CLASSES
) -> VSSCounts:
    """Counts of one video, with at most two frames in memory at a time.

    A pixel is constant over the n frames up to t if it equals its predecessor n - 1 times in a row, so one run length
    per pixel is enough for all n. As in ``VC_perclip.py`` of VSPW, void is treated as a class here and the last window
    of a video is left out.

    Args:
        frames: Raw ground truth and prediction (H, W) of each frame.
        lengths: Window lengths n of VC_n.
        num_classes: Number of classes K.
    """
    confusion = np.zeros((num_classes, num_classes + 1), np.int64)
    windows: dict[int, list[tuple[int, int]]] = {n: [] for n in lengths}
    previous, runs = None, None
    for t, pair in enumerate(frames):
        confusion += confusion_of(*pair, num_classes)
        runs = (
            [np.zeros(x.shape, np.int32) for x in pair]
            if previous is None
            else [np.where(x == old, run + 1, 0) for x, old, run in zip(pair, previous, runs)]
        )
        previous = pair
        for n in lengths:
            if t >= n - 1:
                constant = runs[0] >= n - 1
                windows[n].append((int(constant.sum()), int((constant & (runs[1] >= n - 1)).sum())))
    return VSSCounts(confusion, {n: tuple(values[:-1]) for n, values in windows.items()})


def summarize_vss(counts: VSSCounts) -> dict[str, float]:
    """``mIoU``, ``fwIoU``, ``pixel_acc``, ``mean_class_acc``, ``mIoU_mmseg`` and ``VC{n}`` in [0, 1]; NaN without data.

    mIoU and class accuracy are averaged over the classes in the ground truth; ``mIoU_mmseg`` also includes classes that
    occur only in the prediction. ``VC16_with_VC8`` is the value that the DVIS++ script prints as VC16: the script does
    not clear its list between the two lengths.
    """
    rows, columns = counts.confusion.sum(1), counts.confusion[:, :-1].sum(0)
    correct = np.diag(counts.confusion)
    union, in_gt, total = rows + columns - correct, rows > 0, rows.sum()
    with np.errstate(invalid='ignore', divide='ignore'):
        iou = correct / union
        result = dict(
            mIoU=mean_or_nan(iou[in_gt]),
            fwIoU=float((rows / total * np.nan_to_num(iou)).sum()),
            pixel_acc=float(correct.sum() / total),
            mean_class_acc=mean_or_nan((correct / rows)[in_gt]),
            mIoU_mmseg=mean_or_nan(iou[union > 0]),
        )
    values = {
        n: [consistent / constant for constant, consistent in windows if constant]
        for n, windows in counts.consistency.items()
    }
    result.update({f'VC{n}': mean_or_nan(np.array(ratios)) for n, ratios in values.items()})
    if {8, 16} <= set(values):
        result['VC16_with_VC8'] = mean_or_nan(np.array(values[8] + values[16]))
    return result


def mean_or_nan(values: np.ndarray) -> float:
    """Mean of the values; NaN if there are none."""
    return float(np.mean(values)) if len(values) else float('nan')


def per_class_iou(counts: VSSCounts) -> dict[int, dict[str, float]]:
    """Class -> IoU and accuracy, for the classes that occur."""
    rows, columns, correct = counts.confusion.sum(1), counts.confusion[:, :-1].sum(0), np.diag(counts.confusion)
    return {
        int(c): dict(
            IoU=correct[c] / (rows[c] + columns[c] - correct[c]),
            accuracy=correct[c] / rows[c] if rows[c] else float('nan'),
        )
        for c in np.flatnonzero(rows + columns)
    }
