"""Contrastive track losses of DVIS++ (arXiv:2312.13305), vectorised and without a memory bank."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive_loss(anchors: Tensor, positives: Tensor, negatives: Tensor, allowed: Tensor) -> Tensor:
    """Contrastive loss log(1 + sum over positives p and negatives n of exp(a.n - a.p)) of each anchor a.

    Args:
        anchors: Anchor embeddings (N, C), compared by inner product.
        positives: Positive embeddings (N, P, C) of each anchor.
        negatives: Negative embeddings (N, M, C) of each anchor.
        allowed: Bool (N, M), True for the negatives that are used.

    Returns:
        Loss (N,) of each anchor.
    """
    positive_logits = torch.einsum('nc,npc->np', anchors, positives)
    negative_logits = torch.einsum('nc,nmc->nm', anchors, negatives).masked_fill(~allowed, -torch.inf)
    differences = (negative_logits[:, None] - positive_logits[..., None]).flatten(1)  # (N, P * M)
    return torch.logsumexp(F.pad(differences, (1, 0)), 1)  # the padded logit 0 is the term 1


def mean_contrastive_loss(
    contrast_of: Callable[[Tensor, Tensor], Tensor], clips: Iterable[Tensor], slots: Iterable[np.ndarray]
) -> Tensor:
    """Mean of a contrastive loss over clips, computed in float32.

    Args:
        contrast_of: Loss of the embeddings (T, Q, C) of a clip and the indices (N,) of its matched queries.
        clips: Embeddings (T, Q, C) of each clip.
        slots: Indices (N,) of the queries matched to an object, for each clip.

    Returns:
        Scalar loss.
    """
    return torch.stack(
        [contrast_of(x.float(), torch.as_tensor(rows, device=x.device)) for x, rows in zip(clips, slots)]
    ).mean()


def neighbour_contrastive_loss(references: Tensor, slots: Tensor) -> Tensor:
    """Contrastive loss of the tracker between neighbouring frames.

    The reference of a track is pulled towards its references in the neighbouring frames and pushed away from the
    references of all other tracks in these frames.

    Args:
        references: Reference embeddings (T, Q, C) of one clip.
        slots: Indices (N,) int64 of the queries matched to an object.

    Returns:
        Scalar mean over all frames but the first, over tracks, and over the previous and the next frame.
    """
    frames, total = references.shape[:2]
    losses = []
    is_negative = slots[:, None] != torch.arange(total, device=slots.device)  # (N, Q)
    for t in range(1, frames):
        for neighbour in (t - 1, t + 1):
            if neighbour < frames and len(slots):
                candidates = references[neighbour]
                losses.append(
                    contrastive_loss(
                        references[t, slots],
                        candidates[slots][:, None],
                        candidates.expand(len(slots), -1, -1),
                        is_negative,
                    )
                )
    return torch.cat(losses).mean() if losses else 0.0 * references.sum()


def track_contrastive_loss(queries: Tensor, slots: Tensor) -> Tensor:
    """Contrastive loss of the refiner between all frames of a clip.

    A track in one frame is pulled towards itself in all frames and pushed away from the other tracks in that frame.

    Args:
        queries: Refined and normalised queries (T, Q, C) of one clip.
        slots: Indices (N,) int64 of the queries matched to an object.

    Returns:
        Scalar mean over frames and tracks.
    """
    frames, total = queries.shape[:2]
    if not len(slots):
        return 0.0 * queries.sum()
    is_negative = (slots[:, None] != torch.arange(total, device=slots.device)).repeat(frames, 1)  # (T * N, Q)
    anchors = queries[:, slots].flatten(0, 1)  # (T * N, C)
    positives = queries[:, slots].transpose(0, 1).repeat(frames, 1, 1)  # (T * N, T, C)
    candidates = queries[:, None].expand(-1, len(slots), -1, -1).flatten(0, 1)  # (T * N, Q, C)
    return contrastive_loss(anchors, positives, candidates, is_negative).mean()
