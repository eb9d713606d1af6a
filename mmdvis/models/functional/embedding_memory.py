"""Embeddings of tracks, fused over the frames in which they are visible, as in CTVIS (arXiv:2307.12616)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Memory:
    """Embeddings of N objects, fused over the frames up to now; all fields may have more leading axes.

    Attributes:
        bank: Fused embeddings (N, C).
        last: Embeddings (N, C) of the frames in which the objects were last visible.
        directions: Sums (N, C) of the normalised embeddings of all frames in which the objects were visible.
        count: Numbers (N,) of these frames.
    """

    bank: Tensor
    last: Tensor
    directions: Tensor
    count: Tensor

    @classmethod
    def empty(cls, size: int | tuple[int, ...], like: Tensor) -> 'Memory':
        """Memory before the first frame.

        Args:
            size: Number of objects, or sizes of all axes but the last.
            like: Tensor (..., C) with the width, type and device of the memory.
        """
        sizes = (size,) if isinstance(size, int) else size
        zeros = like.new_zeros(*sizes, like.shape[-1])
        return cls(zeros, zeros, zeros, like.new_zeros(sizes))

    def after(self, embeds: Tensor, visible: Tensor) -> 'Memory':
        """The memory after a frame.

        An embedding enters the bank with the weight of its mean cosine similarity to the earlier ones of the object, at
        least 0; the first one enters as it is.

        Args:
            embeds: Embeddings (N, C) of the objects; those of invisible ones are not used.
            visible: Whether each object is visible (N,).
        """
        unit = F.normalize(embeds, dim=-1)
        share = ((unit * self.directions).sum(-1) / self.count.clamp(min=1)).clamp(min=0)
        share = torch.where(self.count > 0, share, 1.0)[..., None]
        shown = visible[..., None]
        return Memory(
            torch.where(shown, (1 - share) * self.bank + share * embeds, self.bank),
            torch.where(shown, embeds, self.last),
            self.directions + unit * shown,
            self.count + visible,
        )
