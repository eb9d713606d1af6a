"""Noise for the tracker's start in training: wrong objects that it must put right.

The modes of LSVOS 2023's winner (DVIS with denoising training, arXiv:2308.14392) and of DVIS++ (arXiv:2312.13305, section 3.4).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .matching import follow, pair_costs

MODES = ('shuffle', 'weighted', 'crop_concat')


@dataclass(frozen=True)
class QueryNoise:
    """What kind of noise, and how often.

    Attributes:
        mode: ``'shuffle'``: every slot starts from another's query; ``'weighted'``: from a random mean of its own and another's;
            ``'crop_concat'``: from its own query's first channels and another's rest.
        ratio: probability that a frame is noisy, in [0, 1]; the first frame of a clip never is.
        partner: which other: of one permutation (``'perm'``, DVIS++), or drawn for each slot by itself (``'iid'``, the paper's
            formula of the means).
        base: in which order queries are taken as a slot's own: ``'raw'`` as the segmenter gave them (DVIS++), or ``'matched'``.
    """

    mode: str = 'weighted'
    ratio: float = 0.5
    partner: str = 'perm'
    base: str = 'raw'

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ('mode', self.mode, MODES),
            ('partner', self.partner, ('perm', 'iid')),
            ('base', self.base, ('raw', 'matched')),
        ):
            if value not in allowed:
                raise ValueError(f'{name} must be {" or ".join(map(repr, allowed))}, got {value!r}')
        if not 0 <= self.ratio <= 1:
            raise ValueError(f'ratio must be a probability in [0, 1], got {self.ratio}')

    def draw(self, batch: int, frames: int, slots: int, channels: int, generator: torch.Generator) -> 'NoiseDraw':
        """The random part for clips (B, T) with Q slots of C channels; ``generator`` is on the CPU."""
        active = torch.rand(batch, frames, generator=generator) < self.ratio
        active[:, 0] = False
        order = torch.rand(batch, frames, slots, generator=generator).argsort(-1)
        others = torch.randint(slots, (batch, frames, slots), generator=generator)
        share = torch.rand(batch, frames, slots, generator=generator)
        cut = torch.randint(channels, (batch, frames, slots), generator=generator)
        partner = order if self.partner == 'perm' or self.mode == 'shuffle' else others
        if self.mode == 'crop_concat':
            return NoiseDraw(active, partner, torch.arange(channels) < cut[..., None], cut >= channels / 2)
        if self.mode == 'shuffle':
            share = torch.zeros_like(share)
        return NoiseDraw(active, partner, share[..., None], share >= 0.5)


@dataclass(frozen=True, eq=False)
class NoiseDraw:
    """The random part of the noise of some clips.

    Attributes:
        active (B, T): bool, noisy frames; partner (B, T, Q): int64, the slot whose query is mixed in.
        share (B, T, Q, 1) float or (B, T, Q, C) bool: of a slot's own query in the mixture.
        is_own (B, T, Q): bool, whether the slot counts as its own or as its partner's object from there on.
    """

    active: Tensor
    partner: Tensor
    share: Tensor
    is_own: Tensor


@dataclass(frozen=True, eq=False)
class NoisyOrders:
    """Which queries the tracks start from.

    Attributes:
        kept (B, T, Q): int64, the query that counts as each track's own; not a permutation where queries were mixed.
        own, other (B, T, Q): int64, the two queries of the mixture.
        draw: the random part.
    """

    kept: Tensor
    own: Tensor
    other: Tensor
    draw: NoiseDraw

    def mix(self, embeds: Tensor) -> Tensor:
        """The starts (B, T, Q, C) made of the segmenter's queries (B, T, Q, C); without noise, those of ``kept``."""
        plain, own, other = (embeds.take_along_dim(order[..., None], 2) for order in (self.kept, self.own, self.other))
        share = self.draw.share.to(embeds.device)
        mixed = torch.where(share, own, other) if share.dtype == torch.bool else share * own + (1 - share) * other
        return torch.where(self.draw.active.to(embeds.device)[..., None, None], mixed, plain)


def noisy_orders(match_embeds: Tensor, draw: NoiseDraw, base: str, inverse: bool = False) -> NoisyOrders:
    """Follows the tracks of whole clips while noise leads them astray: a noisy frame's order is what the next is matched to.

    Args:
        match_embeds (B, T, Q, D): what is matched.
        draw, base: of :class:`QueryNoise`.
        inverse: see :func:`mmdvis.models.functional.matching.chain_orders`.
    """
    batch, frames, slots = match_embeds.shape[:3]
    kept, own = (np.tile(np.arange(slots), (batch, frames, 1)) for _ in range(2))
    other = own.copy()
    costs = pair_costs(match_embeds) if frames > 1 else None
    active, partner, is_own = draw.active.numpy(), draw.partner.numpy(), draw.is_own.numpy()
    for b in range(batch):
        order: np.ndarray | None = np.arange(slots)
        for t in range(1, frames):
            noisy = active[b, t]
            if noisy and base == 'raw':
                order = np.arange(slots)
            else:
                order = follow(costs[b, t - 1], order, inverse)
            own[b, t] = other[b, t] = order
            if noisy:
                other[b, t] = order[partner[b, t]]
                order = np.where(is_own[b, t], own[b, t], other[b, t])
            kept[b, t] = order
    return NoisyOrders(*(torch.from_numpy(x).to(match_embeds.device) for x in (kept, own, other)), draw)
