"""Contrastive losses of CTVIS (arXiv:2307.12616), which train re-identification embeddings with a memory bank."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .embedding_memory import Memory


def memory_contrast(embeds: Tensor, slots: Tensor, coins: Tensor) -> tuple[Tensor, Tensor]:
    """Losses of the items of a clip, one for each visible object in each frame but the first.

    The anchor is the embedding of the object. The positive is its bank before the frame, or its last embedding; for an
    object that appears for the first time, its next embedding, and without one there is no item. The negatives are all
    other queries of the frame before.

    Args:
        embeds: Embeddings (T, Q, C) of all queries.
        slots: Query (T, N) of each object in each frame, -1 where it is not visible.
        coins: Bool (T, N), True takes the bank and False the last embedding as the positive.

    Returns:
        Contrastive losses (I,), ``log(1 + sum over negatives n of exp(a.n - a.p))``, and similarity losses (I,), the
        mean over positive and negatives of ``(cos(a, x) - y)^2`` with y = 1 for the positive and 0 for negatives.
    """
    visible, num_frames = slots >= 0, len(slots)
    objects = embeds.take_along_dim(slots.clamp(min=0)[..., None], 1)  # (T, N, C)
    memory = Memory.empty(slots.shape[1], objects)
    contrasts, cosines = [embeds.new_zeros(0)], [embeds.new_zeros(0)]
    for t in range(num_frames):
        is_known = memory.count > 0
        if t > 0:
            later = visible[t + 1 :]
            has_next = later.any(0) if len(later) else torch.zeros_like(is_known)
            rows = (visible[t] & (is_known | has_next)).nonzero()[:, 0]
            known = torch.where(coins[t, rows, None], memory.bank[rows], memory.last[rows])
            positives = known
            if len(later):
                following = objects[t + 1 + later[:, rows].int().argmax(0), rows]
                positives = torch.where(is_known[rows, None], known, following)
            items = item_losses(objects[t, rows], positives, embeds[t - 1], slots[t - 1, rows])
            contrasts.append(items[0])
            cosines.append(items[1])
        memory = memory.after(objects[t], visible[t])
    return torch.cat(contrasts), torch.cat(cosines)


def item_losses(anchors: Tensor, positives: Tensor, others: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Losses (I,) of anchors (I, C) with positives (I, C) and the negatives among the queries (Q, C) of a frame.

    Args:
        anchors: Anchors.
        positives: Positives.
        others: Queries; all but ``own`` are negatives.
        own: Query (I,) of the object of each anchor, -1 for none.
    """
    is_negative = own[:, None] != torch.arange(len(others), device=own.device)
    positive = (anchors * positives).sum(-1, keepdim=True)
    differences = (anchors @ others.T - positive).masked_fill(~is_negative, -torch.inf)
    contrast = torch.logsumexp(F.pad(differences, (1, 0)), 1)  # the padded 0 is the term 1
    unit = F.normalize(anchors, dim=-1)
    wrong = ((unit @ F.normalize(others, dim=-1).T) ** 2 * is_negative).sum(1)
    right = ((unit * F.normalize(positives, dim=-1)).sum(-1) - 1) ** 2
    return contrast, (wrong + right) / (is_negative.sum(1) + 1)


def mean_memory_contrast(
    clips: Sequence[Tensor], slots: Sequence[Tensor], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Means of both losses over the items of all clips, in float32; 0 without an item.

    Args:
        clips: Embeddings (T, Q, C) of each clip.
        slots: See :func:`memory_contrast`, for each clip.
        generator: Draws the positives; on the CPU.
    """
    found = []
    for embeds, rows in zip(clips, slots):
        coins = torch.rand(rows.shape, generator=generator) < 0.5
        found.append(memory_contrast(embeds.float(), rows, coins.to(rows.device)))
    contrast, cosine = (torch.cat(losses) for losses in zip(*found))
    if not len(contrast):
        nothing = 0.0 * sum(embeds.float().sum() for embeds in clips)
        return nothing, nothing
    return contrast.mean(), cosine.mean()
