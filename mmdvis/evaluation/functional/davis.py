"""Measures of DAVIS (CVPR 2016, section 4): region similarity J and contour accuracy F, and their statistics.

J is the intersection over union. F is the harmonic mean of precision and recall of the contour pixels, which match
within 0.8 % of the image diagonal. Matching by distance, as in the official scripts, approximates the bipartite
matching of the paper.
"""

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

TOLERANCE = 0.008  # of the image diagonal
RECALL_ABOVE = 0.5  # a frame counts as found if its measure exceeds it
NUM_PARTS = 4  # of a sequence; the decay is the mean of the first minus that of the last


def region_similarity(truth: np.ndarray, predicted: np.ndarray) -> float:
    """J of one frame: intersection over union of two masks (H, W) bool; 1 if both are empty."""
    union = np.count_nonzero(truth | predicted)
    return np.count_nonzero(truth & predicted) / union if union else 1.0


def contour(mask: np.ndarray) -> np.ndarray:
    """Contour (H, W) bool of a mask (H, W) bool: pixels that differ from the one to the right, below or diagonal.

    In the last row only the neighbour to the right counts, in the last column only the one below.
    """
    found = np.zeros(mask.shape, bool)
    found[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    found[:-1] |= mask[:-1] != mask[1:]
    found[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    found[:-1, -1] = mask[:-1, -1] != mask[1:, -1]
    found[-1, :-1] = mask[-1, :-1] != mask[-1, 1:]
    found[-1, -1] = False
    return found


def contour_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """F of one frame: harmonic mean of precision and recall of the contours of two masks (H, W) bool.

    Two empty contours give 1, one empty contour gives 0.
    """
    return matched_contours(*(contour_and_surroundings(mask) for mask in (truth, predicted)))


def contour_and_surroundings(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contour (H, W) bool of a mask, and the pixels (H, W) bool within the tolerance of it."""
    found = contour(mask)
    radius = int(np.ceil(TOLERANCE * np.hypot(*mask.shape)))
    steps = np.arange(-radius, radius + 1)
    disk = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)
    return found, cv2.dilate(found.astype(np.uint8), disk).astype(bool)


def matched_contours(truth: tuple[np.ndarray, np.ndarray], predicted: tuple[np.ndarray, np.ndarray]) -> float:
    """F of two contours with their surroundings."""
    number, number_predicted = np.count_nonzero(truth[0]), np.count_nonzero(predicted[0])
    if not number or not number_predicted:
        return float(number == number_predicted)
    precision = np.count_nonzero(predicted[0] & truth[1]) / number_predicted
    recall = np.count_nonzero(truth[0] & predicted[1]) / number
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def sequence_statistics(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, recall and decay of the measure (T,) of an object in the frames of a sequence.

    Recall is the share of frames with more than 0.5; decay is the mean of the first quarter minus that of the last.
    """
    edges = (np.round(np.linspace(1, len(values), NUM_PARTS + 1) + 1e-10) - 1).astype(int)
    parts = [values[first : last + 1] for first, last in zip(edges[:-1], edges[1:])]
    return float(values.mean()), float((values > RECALL_ABOVE).mean()), float(parts[0].mean() - parts[-1].mean())


def measure_objects(truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """J and F (N, T) of the objects of a sequence, matched to predictions so that the mean of J and F is largest.

    Args:
        truth: Masks (N, T, H, W) bool of the objects.
        predicted: Masks (M, T, H, W) bool of the predictions; missing ones count as empty.
    """
    number, length = truth.shape[:2]
    predicted = np.concatenate([predicted, np.zeros((max(number - len(predicted), 0), *truth.shape[1:]), bool)])
    region = np.zeros((number, len(predicted), length))
    accuracy = np.zeros_like(region)
    for t in range(length):
        true_contours, contours = ([contour_and_surroundings(m) for m in masks[:, t]] for masks in (truth, predicted))
        for n in range(number):
            for m in range(len(predicted)):
                region[n, m, t] = region_similarity(truth[n, t], predicted[m, t])
                accuracy[n, m, t] = matched_contours(true_contours[n], contours[m])
    rows, columns = linear_sum_assignment(-(region + accuracy).mean(-1))
    return region[rows, columns], accuracy[rows, columns]
