"""Contrastive losses of DVIS++ (arXiv:2312.13305) for tracks, without loops and without a bank of earlier embeddings."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive_loss(anchors: Tensor, positives: Tensor, negatives: Tensor, allowed: Tensor) -> Tensor:
    """log(1 + sum over positives p and negatives n of exp(a.n - a.p)) for each anchor.

    Args:
        anchors (N, C), positives (N, P, C), negatives (N, M, C): embeddings, compared by plain products.
        allowed (N, M): bool, which negatives count.

    Returns:
        (N,)
    """
    near = torch.einsum('nc,npc->np', anchors, positives)
    far = torch.einsum('nc,nmc->nm', anchors, negatives).masked_fill(~allowed, -torch.inf)
    pairs = (far[:, None] - near[..., None]).flatten(1)  # (N, P * M)
    return torch.logsumexp(F.pad(pairs, (1, 0)), 1)  # the padded zero is the 1


def mean_contrastive_loss(
    contrast_of: Callable[[Tensor, Tensor], Tensor], clips: Iterable[Tensor], slots: Iterable[np.ndarray]
) -> Tensor:
    """The mean over clips of a contrastive loss of their embeddings (T, Q, C), given the slots with an object, in float32."""
    return torch.stack(
        [contrast_of(x.float(), torch.as_tensor(rows, device=x.device)) for x, rows in zip(clips, slots)]
    ).mean()


def neighbour_contrastive_loss(references: Tensor, slots: Tensor) -> Tensor:
    """Tracker: what a track refers to is near its own in the neighbouring frames and far from the others'.

    Args:
        references (T, Q, C): of one clip; slots (N,): int64, those with an object.

    Returns:
        the mean over frames 2..T, slots, and the neighbours before and behind.
    """
    frames, total = references.shape[:2]
    items = []
    others = slots[:, None] != torch.arange(total, device=slots.device)  # (N, Q)
    for t in range(1, frames):
        for near in (t - 1, t + 1):
            if near < frames and len(slots):
                pool = references[near]
                items.append(
                    contrastive_loss(
                        references[t, slots], pool[slots][:, None], pool.expand(len(slots), -1, -1), others
                    )
                )
    return torch.cat(items).mean() if items else 0.0 * references.sum()


def track_contrastive_loss(queries: Tensor, slots: Tensor) -> Tensor:
    """Refiner: a track in one frame is near itself in all frames and far from the other tracks in that frame.

    Args:
        queries (T, Q, C): refined and normed, of one clip; slots (N,): int64, those with an object.
    """
    frames, total = queries.shape[:2]
    if not len(slots):
        return 0.0 * queries.sum()
    others = (slots[:, None] != torch.arange(total, device=slots.device)).repeat(frames, 1)  # (T * N, Q)
    anchors = queries[:, slots].flatten(0, 1)  # (T * N, C)
    own = queries[:, slots].transpose(0, 1).repeat(frames, 1, 1)  # (T * N, T, C)
    pool = queries[:, None].expand(-1, len(slots), -1, -1).flatten(0, 1)  # (T * N, Q, C)
    return contrastive_loss(anchors, own, pool, others).mean()
