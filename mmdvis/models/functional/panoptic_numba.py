"""Numba kernel that assigns pixels to mask rows on a CPU; importing this module requires Numba."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from torch import Tensor

from .numba_support import EXACT, compiled


def assign(top: np.ndarray, probs: np.ndarray, rows: np.ndarray, areas: np.ndarray) -> None:
    """Kernel of :func:`numba_assign`.

    Args:
        top: Scores (k,) float32 of the rows, at least one.
        probs: Mask probabilities (k, P) float32.
        rows: Row of each pixel (P,) int16, k for void, which are written.
        areas: Zeros (3, k) int64, to which the numbers of pixels that each row wins, is assigned, and covers are added.
    """
    count, pixels = probs.shape
    best, chosen, row_of = np.empty(pixels, np.float32), np.empty(pixels, np.float32), np.zeros(pixels, np.int32)
    for k in range(count):
        prob, score, covered = probs[k], top[k], 0
        for i in range(pixels):
            value = score * prob[i]
            wins = (k == 0) | (value > best[i])
            row_of[i] = k if wins else row_of[i]
            chosen[i] = prob[i] if wins else chosen[i]
            best[i] = value if wins | (value != value) else best[i]  # NaN remains, as in torch.maximum
            covered += prob[i] >= np.float32(0.5)
        areas[2, k] = covered
    for i in range(pixels):
        k = row_of[i]
        areas[0, k] += 1
        if chosen[i] >= np.float32(0.5):
            areas[1, k] += 1
            rows[i] = k
        else:
            rows[i] = count


@cache
def kernel() -> Callable[..., None]:
    """Compiled :func:`assign`."""
    empty = np.zeros(1, np.float32), np.zeros((1, 0), np.float32), np.zeros(0, np.int16), np.zeros((3, 1), np.int64)
    return compiled(assign, empty, EXACT)


def numba_assign(top: Tensor, probs: Tensor) -> tuple[Tensor, Tensor]:
    """Assigns each pixel to the row with the largest product of score and mask probability, and counts the pixels.

    The result is that of :func:`mmdvis.models.functional.panoptic_fusion.assign_row_by_row`, bit by bit.

    Args:
        top: Scores (k,) float32 of the rows, at least one and fewer than 2**15.
        probs: Mask probabilities (k, H, W) float32.

    Returns:
        Row of each pixel (H, W) int16, k for void; numbers of pixels (3, k) int64 that each row wins, is assigned, and
        covers with a probability of at least 0.5.

    Raises:
        ValueError: The shapes do not match.
    """
    if probs.ndim != 3 or not 0 < len(top) == len(probs) < 1 << 15:
        raise ValueError(
            f'expected scores (k,) and probabilities (k, H, W), got {tuple(top.shape)}, {tuple(probs.shape)}'
        )
    rows = torch.empty(probs.shape[1:], dtype=torch.int16, device='cpu')
    areas = torch.zeros(3, len(top), dtype=torch.int64, device='cpu')
    scores, values = (x.detach().contiguous().numpy() for x in (top, probs.flatten(1)))
    kernel()(scores, values, rows.flatten().numpy(), areas.numpy())
    return rows, areas
