"""Matching costs of masks from counts at points, which add up over frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PointOverlap:
    """How the masks of all queries agree with all objects at shared points; sums over points, so clips add up with ``+``.

    Attributes:
        spread (..., Q, 1): softplus of the logits.
        agree (..., Q, N): logit times truth.
        hit (..., Q, N): probability times truth.
        area (..., Q, 1): probability; size (N,): truth.
        num_points: points counted.
    """

    spread: Tensor
    agree: Tensor
    hit: Tensor
    area: Tensor
    size: Tensor
    num_points: int

    @classmethod
    def count(cls, logits: Tensor, truth: Tensor, kept: Tensor | None = None) -> 'PointOverlap':
        """Counts of mask logits (..., Q, P) against truth (N, P) in [0, 1] at the same points, if ``kept`` (P,) says so."""
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
        """Those of several layers at the same points as one, with a new first axis."""
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
        """(..., Q, N): mean binary cross-entropy over the points."""
        return (self.spread - self.agree) / max(self.num_points, 1)

    def dice(self) -> Tensor:
        """(..., Q, N): one minus the smoothed dice coefficient."""
        return 1 - (2 * self.hit + 1) / (self.area + self.size + 1)


def cross_entropy_loss(logits: Tensor, truth: Tensor, kept: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy of each row (..., P) -> (...), over the points that ``kept`` (..., P) marks, if given."""
    values = F.binary_cross_entropy_with_logits(logits, truth, reduction='none')
    return values.mean(-1) if kept is None else (values * kept).sum(-1) / kept.sum(-1).clamp(min=1)


def dice_loss(probs: Tensor, truth: Tensor) -> Tensor:
    """One minus the smoothed dice coefficient of each row: (..., P), (..., P) -> (...)."""
    return 1 - (2 * (probs * truth).sum(-1) + 1) / (probs.sum(-1) + truth.sum(-1) + 1)


def class_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the probability of each object's class: (..., Q, K + 1), labels (N,) -> (..., Q, N)."""
    return -torch.softmax(logits.float(), -1)[..., labels]
