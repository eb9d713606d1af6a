"""Training noise for the initial queries of the tracker: wrong queries that it must correct.

The modes are those of the LSVOS 2023 winner (DVIS with denoising training, arXiv:2308.14392) and of DVIS++
(arXiv:2312.13305, section 3.4).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .matching import follow, pair_costs

MODES = ('shuffle', 'weighted', 'crop_concat')


@dataclass(frozen=True)
class QueryNoise:
    """Type and probability of the noise.

    Attributes:
        mode: ``'shuffle'`` replaces the initial query of a track by another query; ``'weighted'`` replaces it by a
            random weighted mean of both; ``'crop_concat'`` concatenates its first channels with the remaining channels
            of the other query.
        ratio: Probability in [0, 1] that a frame is noisy; the first frame of a clip is never noisy.
        partner: How the other query is selected: ``'perm'`` by a random permutation of the queries of the frame
            (DVIS++), or ``'iid'`` independently for each query (formula of the weighted mean in the paper).
            ``mode='shuffle'`` always uses a permutation.
        base: Query order that noise is applied to: ``'raw'`` is the order of the segmenter (DVIS++), ``'matched'`` the
            track order.
        chain: What the next frame is matched to and the predictions of the segmenter are ordered by: ``'clean'``, the
            tracks without noise, so that noise changes only what a frame starts from; or ``'noisy'``, the queries that
            the noise has put in their place, as in the released code of DVIS++.
    """

    mode: str = 'weighted'
    ratio: float = 0.5
    partner: str = 'perm'
    base: str = 'raw'
    chain: str = 'clean'

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ('mode', self.mode, MODES),
            ('partner', self.partner, ('perm', 'iid')),
            ('base', self.base, ('raw', 'matched')),
            ('chain', self.chain, ('clean', 'noisy')),
        ):
            if value not in allowed:
                raise ValueError(f'{name} must be {" or ".join(map(repr, allowed))}, got {value!r}')
        if not 0 <= self.ratio <= 1:
            raise ValueError(f'ratio must be a probability in [0, 1], got {self.ratio}')

    def draw(self, batch: int, frames: int, slots: int, channels: int, generator: torch.Generator) -> 'NoiseDraw':
        """Samples the noise of a batch of clips.

        Args:
            batch: Number of clips B.
            frames: Number of frames T.
            slots: Number of queries Q.
            channels: Number of channels C.
            generator: Random generator on the CPU.
        """
        active = torch.rand(batch, frames, generator=generator) < self.ratio
        active[:, 0] = False
        permutation = torch.rand(batch, frames, slots, generator=generator).argsort(-1)
        independent = torch.randint(slots, (batch, frames, slots), generator=generator)
        share = torch.rand(batch, frames, slots, generator=generator)
        cut = torch.randint(channels, (batch, frames, slots), generator=generator)
        partner = permutation if self.partner == 'perm' or self.mode == 'shuffle' else independent
        if self.mode == 'crop_concat':
            return NoiseDraw(active, partner, torch.arange(channels) < cut[..., None], cut >= channels / 2)
        if self.mode == 'shuffle':
            share = torch.zeros_like(share)
        return NoiseDraw(active, partner, share[..., None], share >= 0.5)


@dataclass(frozen=True, eq=False)
class NoiseDraw:
    """Sampled noise of a batch of clips.

    Attributes:
        active: Bool (B, T), True for noisy frames.
        partner: Index (B, T, Q) int64 of the query that each query is mixed with.
        share: Weight of a track's own query in the mixture, (B, T, Q, 1) float or (B, T, Q, C) bool.
        is_own: Bool (B, T, Q), whether the track follows its own query rather than the partner in the next frames.
    """

    active: Tensor
    partner: Tensor
    share: Tensor
    is_own: Tensor


@dataclass(frozen=True, eq=False)
class NoisyOrders:
    """Queries that the tracks start from in each frame.

    Attributes:
        kept: Index (B, T, Q) int64 of the query that each track follows; with a noisy chain, it is not necessarily a
            permutation in noisy frames.
        own: Index (B, T, Q) int64 of the first query of the mixture.
        other: Index (B, T, Q) int64 of the second query of the mixture.
        draw: Sampled noise.
    """

    kept: Tensor
    own: Tensor
    other: Tensor
    draw: NoiseDraw

    def mix(self, embeds: Tensor) -> Tensor:
        """Initial queries (B, T, Q, C) of the tracks.

        Args:
            embeds: Queries (B, T, Q, C) of the segmenter.

        Returns:
            Mixture of ``own`` and ``other`` in noisy frames, queries in the order ``kept`` in all others.
        """
        unmixed, own, other = (
            embeds.take_along_dim(order[..., None], 2) for order in (self.kept, self.own, self.other)
        )
        share = self.draw.share.to(embeds.device)
        mixed = torch.where(share, own, other) if share.dtype == torch.bool else share * own + (1 - share) * other
        return torch.where(self.draw.active.to(embeds.device)[..., None, None], mixed, unmixed)


def noisy_orders(
    match_embeds: Tensor, draw: NoiseDraw, base: str, inverse: bool = False, chain: str = 'clean'
) -> NoisyOrders:
    """Matches the queries of whole clips from frame to frame, with noise.

    With a noisy chain, each frame is matched to the previous one in its noisy order, so errors propagate.

    Args:
        match_embeds: Embeddings (B, T, Q, D) to match.
        draw: Sampled noise.
        base: See :class:`QueryNoise`.
        chain: See :class:`QueryNoise`.
        inverse: See :func:`mmdvis.models.functional.matching.chain_orders`.
    """
    batch, frames, slots = match_embeds.shape[:3]
    kept, own = (np.tile(np.arange(slots), (batch, frames, 1)) for _ in range(2))
    other = own.copy()
    costs = pair_costs(match_embeds) if frames > 1 else None
    active, partner, is_own = draw.active.numpy(), draw.partner.numpy(), draw.is_own.numpy()
    for b in range(batch):
        order: np.ndarray = np.arange(slots)
        for t in range(1, frames):
            order = follow(costs[b, t - 1], order, inverse)
            own[b, t] = other[b, t] = order
            if active[b, t]:
                start = np.arange(slots) if base == 'raw' else order
                own[b, t], other[b, t] = start, start[partner[b, t]]
                if chain == 'noisy':
                    order = np.where(is_own[b, t], own[b, t], other[b, t])
            kept[b, t] = order
    return NoisyOrders(*(torch.from_numpy(x).to(match_embeds.device) for x in (kept, own, other)), draw)
