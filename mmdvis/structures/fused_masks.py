"""Masks seen through a mirror, and masks averaged over several passes."""
from dataclasses import dataclass
from typing import Tuple

import torch
from torch import Tensor

from .masks import MaskSource


@dataclass(frozen=True, eq=False)
class FlippedMasks:
    """The masks of a pass that saw its frames mirrored, mirrored back."""
    masks: MaskSource

    def logits(self, rows: Tensor, frame: int) -> Tensor:
        """Mask logits (len(rows), H, W)."""
        return self.masks.logits(rows, frame).flip(-1)

    def probs(self, rows: Tensor, frame: int) -> Tensor:
        """Mask probabilities (len(rows), H, W)."""
        return self.masks.probs(rows, frame).flip(-1)


@dataclass(frozen=True, eq=False)
class AveragedMasks:
    """The mean of the mask probabilities of several passes.

    Attributes:
        passes: the masks of each, all of one size.
        orders: of each pass (Q,): int64, which of its rows is row q of the first; -1: none, and the others count.
    """
    passes: Tuple[MaskSource, ...]
    orders: Tuple[Tensor, ...]

    def probs(self, rows: Tensor, frame: int) -> Tensor:
        """Mask probabilities (len(rows), H, W)."""
        total, number = 0., 0
        for masks, order in zip(self.passes, self.orders):
            own = order.to(rows.device)[rows]
            found = own >= 0
            values = masks.probs(own.clamp(min=0), frame)
            total = total + values * found[:, None, None]
            number = number + found
        return total / number[:, None, None]

    def logits(self, rows: Tensor, frame: int) -> Tensor:
        """Logits of the mean probabilities, positive where they pass one half."""
        return torch.logit(self.probs(rows, frame), eps=1e-6)
