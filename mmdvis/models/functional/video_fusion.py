"""Fuses predictions of one video: of several scales, of its mirror image, of several checkpoints (PVUW 2023's winner)."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmdvis.structures import AveragedMasks, VideoPrediction

ROWS, PIXELS, FRAMES = 16, 96, 8  # rows at once, pixels along the longer edge, and frames that are compared


def thumbnails(prediction: VideoPrediction, frames: Sequence[int]) -> Tensor:
    """Where each row's mask is more likely than not, (Q, F * p) float 0 or 1, in a few frames at a few pixels."""
    found: list[Tensor] = []
    for rows in torch.arange(len(prediction.ids)).split(ROWS):
        maps = []
        for frame in frames:
            probs = prediction.probs_of(rows)(frame)
            step = max(1, max(probs.shape[-2:]) // PIXELS)
            maps.append((probs[:, step // 2 :: step, step // 2 :: step] > 0.5).flatten(1))
        found.append(torch.cat(maps, 1))
    return torch.cat(found).float()


def class_scores(prediction: VideoPrediction) -> Tensor:
    """Class probabilities (Q, K + 1) of the whole video; of a causal prediction, those of its end."""
    return (prediction.scores[-1] if prediction.is_causal else prediction.scores).float()


def align(reference: VideoPrediction, other: VideoPrediction) -> Tensor:
    """Which row of ``other`` shows what each row of ``reference`` shows, (Q,) int64, -1 where none is left.

    Rows are assigned one to one by mask IoU over some frames of the video times agreement of the classes, rows that show
    something first; empty rows follow by their classes.
    """
    frames = np.unique(np.linspace(0, reference.num_frames - 1, FRAMES).round().astype(int)).tolist()
    a, b = thumbnails(reference, frames), thumbnails(other, frames)
    shared = a @ b.T
    iou = shared / (a.sum(1, keepdim=True) + b.sum(1) - shared).clamp(min=1)
    classes = class_scores(reference).cpu() @ class_scores(other).cpu().T
    gain = (iou.cpu() * (0.1 + classes) + 1e-3 * classes).numpy()
    rows, columns = linear_sum_assignment(-gain)
    order = np.full(len(gain), -1)
    order[rows] = columns
    return torch.from_numpy(order)


def fuse_predictions(predictions: Sequence[VideoPrediction]) -> VideoPrediction:
    """The mean of several predictions of one video; identities are those of the first.

    Class probabilities are averaged over the passes that have a row for a track, mask probabilities frame by frame when they are
    asked for; no map of all rows is ever made.

    Raises:
        ValueError: there is none, or they disagree about frames, classes or causality.
    """
    if not predictions:
        raise ValueError('at least one prediction is needed to fuse')
    first, *others = predictions
    for other in others:
        if (other.num_frames, other.scores.shape[-1], other.is_causal) != (
            first.num_frames,
            first.scores.shape[-1],
            first.is_causal,
        ):
            raise ValueError(
                f'predictions of one video must agree about frames, classes and causality, got '
                f'{(first.num_frames, first.scores.shape[-1] - 1, first.is_causal)} and '
                f'{(other.num_frames, other.scores.shape[-1] - 1, other.is_causal)}'
            )
    orders = [torch.arange(len(first.ids)), *(align(first, other) for other in others)]
    scores, valid, number = 0.0, torch.zeros_like(first.valid), 0
    for prediction, order in zip(predictions, orders):
        order = order.to(first.scores.device)
        found, rows = order >= 0, order.clamp(min=0)
        scores = scores + prediction.scores[..., rows, :] * found[:, None]
        valid = valid | (prediction.valid[:, rows] & found)
        number = number + found
    return VideoPrediction(
        first.ids, scores / number[:, None], valid, AveragedMasks(tuple(p.masks for p in predictions), tuple(orders))
    )
