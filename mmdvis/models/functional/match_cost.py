"""Mask matching costs from statistics at sampled points, which can be summed over frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PointOverlap:
    """Agreement of the masks of all queries with all objects at the same points.

    All statistics are sums over points, so the results of several frames are added with ``+``.

    Attributes:
        spread: Sum (..., Q, 1) of the softplus of the logits.
        agree: Sum (..., Q, N) of logit times ground truth.
        hit: Sum (..., Q, N) of probability times ground truth.
        area: Sum (..., Q, 1) of the probabilities.
        size: Sum (N,) of the ground truth.
        num_points: Number of points.
    """

    spread: Tensor
    agree: Tensor
    hit: Tensor
    area: Tensor
    size: Tensor
    num_points: int

    @classmethod
    def count(cls, logits: Tensor, truth: Tensor, kept: Tensor | None = None) -> 'PointOverlap':
        """Statistics of mask logits and ground truth at the same points.

        Args:
            logits: Mask logits (..., Q, P).
            truth: Ground truth (N, P) in [0, 1].
            kept: Bool (P,), True for the points that are used; None uses all.
        """
        if kept is not None:
            logits, truth = logits[..., kept], truth[..., kept]
        probs = logits.sigmoid()
        return cls(
            F.softplus(logits).sum(-1, keepdim=True),
            logits @ truth.T,
            probs @ truth.T,
            probs.sum(-1, keepdim=True),
            truth.sum(-1),
            logits.shape[-1],
        )

    @classmethod
    def stack(cls, overlaps: Sequence['PointOverlap']) -> 'PointOverlap':
        """Stacks the statistics of several layers at the same points along a new first axis."""
        counts = (torch.stack([getattr(x, name) for x in overlaps]) for name in ('spread', 'agree', 'hit', 'area'))
        return cls(*counts, overlaps[0].size, overlaps[0].num_points)

    def __add__(self, other: 'PointOverlap') -> 'PointOverlap':
        return PointOverlap(
            self.spread + other.spread,
            self.agree + other.agree,
            self.hit + other.hit,
            self.area + other.area,
            self.size + other.size,
            self.num_points + other.num_points,
        )

    def cross_entropy(self) -> Tensor:
        """Mean binary cross-entropy (..., Q, N) over the points."""
        return (self.spread - self.agree) / max(self.num_points, 1)

    def dice(self) -> Tensor:
        """Dice cost (..., Q, N): one minus the smoothed dice coefficient."""
        return 1 - (2 * self.hit + 1) / (self.area + self.size + 1)


def cross_entropy_loss(logits: Tensor, truth: Tensor, kept: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy of each row.

    Args:
        logits: Mask logits (..., P).
        truth: Ground truth (..., P) in [0, 1].
        kept: Weight (..., P), 1 for the points that are used and 0 for the others; None uses all.

    Returns:
        Loss (...).
    """
    values = F.binary_cross_entropy_with_logits(logits, truth, reduction='none')
    return values.mean(-1) if kept is None else (values * kept).sum(-1) / kept.sum(-1).clamp(min=1)


def dice_loss(probs: Tensor, truth: Tensor) -> Tensor:
    """Dice loss of each row: one minus the smoothed dice coefficient.

    Args:
        probs: Mask probabilities (..., P).
        truth: Ground truth (..., P) in [0, 1].

    Returns:
        Loss (...).
    """
    return 1 - (2 * (probs * truth).sum(-1) + 1) / (probs.sum(-1) + truth.sum(-1) + 1)


def class_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """Class cost: the negative probability of each object's class.

    Args:
        logits: Class logits (..., Q, K + 1).
        labels: Class label (N,) of each object.

    Returns:
        Cost (..., Q, N).
    """
    return -torch.softmax(logits.float(), -1)[..., labels]
