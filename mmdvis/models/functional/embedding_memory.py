"""Embeddings of tracks, fused over the frames in which they are visible, as in CTVIS (arXiv:2307.12616)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Memory:
    """What is known of N objects after a frame.

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
    def empty(cls, num_objects: int, like: Tensor) -> 'Memory':
        """Memory before the first frame; ``like`` (..., C) gives width, type and device."""
        zeros = like.new_zeros(num_objects, like.shape[-1])
        return cls(zeros, zeros, zeros, like.new_zeros(num_objects))

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
        share = torch.where(self.count > 0, share, 1.0)[:, None]
        shown = visible[:, None]
        return Memory(
            torch.where(shown, (1 - share) * self.bank + share * embeds, self.bank),
            torch.where(shown, embeds, self.last),
            self.directions + unit * shown,
            self.count + visible,
        )
