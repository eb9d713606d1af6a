"""Fusion of several predictions of one video: of scales, of its mirror image, or of checkpoints (PVUW 2023 winner)."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmdvis.structures import AveragedMasks, VideoPrediction

ROWS, PIXELS, FRAMES = 16, 96, 8  # rows per chunk, pixels of the longer edge, compared frames


def thumbnails(prediction: VideoPrediction, frames: Sequence[int]) -> Tensor:
    """Downsampled binary masks of all rows in selected frames.

    Args:
        prediction: Prediction of the video.
        frames: Frame indices.

    Returns:
        Masks (Q, F * p) float, 1 where the mask probability exceeds 0.5 and 0 elsewhere, with p pixels per frame.
    """
    masks: list[Tensor] = []
    for frame in frames:  # all rows of a frame together, because a store may compute its features
        maps = []
        for rows in torch.arange(len(prediction.ids)).split(ROWS):
            probs = prediction.probs_of(rows)(frame)
            step = max(1, max(probs.shape[-2:]) // PIXELS)
            maps.append((probs[:, step // 2 :: step, step // 2 :: step] > 0.5).flatten(1))
        masks.append(torch.cat(maps))
    return torch.cat(masks, 1).float()


def final_scores(prediction: VideoPrediction) -> Tensor:
    """Class probabilities (Q, K + 1) of the whole video; a causal prediction gives those of the last frame."""
    return (prediction.scores[-1] if prediction.is_causal else prediction.scores).float()


def compared_frames(num_frames: int) -> list[int]:
    """Indices of up to ``FRAMES`` frames, evenly distributed."""
    return np.unique(np.linspace(0, num_frames - 1, FRAMES).round().astype(int)).tolist()


def align(reference: VideoPrediction, other: VideoPrediction, reference_masks: Tensor | None = None) -> Tensor:
    """Matches the rows of two predictions of one video.

    Rows are assigned one to one. The gain of a pair is the mask IoU in a few frames, weighted by the class agreement. A
    small additional weight of the class agreement assigns the rows without overlap.

    Args:
        reference: Prediction with Q rows.
        other: Prediction to match to it.
        reference_masks: :func:`thumbnails` of ``reference`` in :func:`compared_frames`, if they are known.

    Returns:
        Row (Q,) int64 of ``other`` for each row of ``reference``, -1 if no row is left.
    """
    frames = compared_frames(reference.num_frames)
    reference_masks = thumbnails(reference, frames) if reference_masks is None else reference_masks
    other_masks = thumbnails(other, frames)
    intersection = reference_masks @ other_masks.T
    iou = intersection / (reference_masks.sum(1, keepdim=True) + other_masks.sum(1) - intersection).clamp(min=1)
    class_agreement = final_scores(reference).cpu() @ final_scores(other).cpu().T
    gain = (iou.cpu() * (0.1 + class_agreement) + 1e-3 * class_agreement).numpy()
    rows, columns = linear_sum_assignment(-gain)
    matched_rows = np.full(len(gain), -1)
    matched_rows[rows] = columns
    return torch.from_numpy(matched_rows)


def fuse_predictions(predictions: Sequence[VideoPrediction]) -> VideoPrediction:
    """Averages several predictions of one video; the ids are those of the first prediction.

    The class probabilities of a track are averaged over the predictions that contain it. Mask probabilities are
    averaged frame by frame on access, so the masks of all rows are never in memory together.

    Args:
        predictions: Predictions of one video.

    Raises:
        ValueError: There is no prediction, or the predictions differ in frames, classes or causality.
    """
    if not predictions:
        raise ValueError('fuse_predictions needs at least one prediction, got none')
    first, *others = predictions
    for other in others:
        if (other.num_frames, other.scores.shape[-1], other.is_causal) != (
            first.num_frames,
            first.scores.shape[-1],
            first.is_causal,
        ):
            raise ValueError(
                f'predictions of one video must have the same number of frames, number of classes and causality, got '
                f'{(first.num_frames, first.scores.shape[-1] - 1, first.is_causal)} and '
                f'{(other.num_frames, other.scores.shape[-1] - 1, other.is_causal)}'
            )
    first_masks = thumbnails(first, compared_frames(first.num_frames)) if others else None
    orders = [torch.arange(len(first.ids)), *(align(first, other, first_masks) for other in others)]
    scores, valid, counts = 0.0, torch.zeros_like(first.valid), 0
    for prediction, order in zip(predictions, orders):
        order = order.to(first.scores.device)
        has_row, rows = order >= 0, order.clamp(min=0)
        scores = scores + prediction.scores[..., rows, :] * has_row[:, None]
        valid = valid | (prediction.valid[:, rows] & has_row)
        counts = counts + has_row
    return VideoPrediction(
        first.ids, scores / counts[:, None], valid, AveragedMasks(tuple(p.masks for p in predictions), tuple(orders))
    )
