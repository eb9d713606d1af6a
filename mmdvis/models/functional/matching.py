"""Matching between the queries of consecutive frames."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .precision import full_precision


def cosine_distance(a: Tensor, b: Tensor, eps: float = 1e-6) -> Tensor:
    """Cosine distance in [0, 2] of all pairs of rows.

    Args:
        a: Embeddings (..., N, C).
        b: Embeddings (..., M, C).
        eps: Added to the norms for numerical stability.

    Returns:
        Distances (..., N, M) float32.
    """
    a, b = (x / (x.norm(dim=-1, keepdim=True) + eps) for x in (a.float(), b.float()))
    return 1 - a @ b.transpose(-1, -2)


def chain_orders(embeds: Tensor, reference: Tensor, inverse: bool = False) -> Tensor:
    """Follows the rows of ``reference`` through the frames of clips by Hungarian matching of consecutive frames.

    The cost between two consecutive frames does not depend on the order of their rows. All costs are therefore one
    batched product and one copy to the CPU, and only the small assignments run sequentially.

    Args:
        embeds: Embeddings (B, T, Q, D) to match, in the query order of the segmenter.
        reference: Embeddings (B, Q, D) to follow, in track order.
        inverse: Whether to gather with the inverse permutation, as the released DVIS v1 code does
            (``video_dvis_modules.py``, ``match_embds``); required by weights trained with that code.

    Returns:
        Order (B, T, Q) int64; ``embeds[b, t, order[b, t, q]]`` continues row q.
    """
    cost = pair_costs(torch.cat([reference[:, None], embeds], 1))
    orders = np.empty(cost.shape[:3], dtype=np.int64)
    for b, frames in enumerate(cost):
        order = np.arange(cost.shape[-1])  # the reference is in track order
        for t, frame in enumerate(frames):
            orders[b, t] = order = follow(frame, order, inverse)
    return torch.from_numpy(orders).to(embeds.device)


def pair_costs(embeds: Tensor) -> np.ndarray:
    """Cosine distances (B, T - 1, Q, Q) between the rows of consecutive frames, as an array on the CPU."""
    with full_precision(embeds):  # half precision cannot separate similar embeddings
        return cosine_distance(embeds[:, :-1].detach(), embeds[:, 1:].detach()).nan_to_num(0).cpu().numpy()


def follow(cost: np.ndarray, order: np.ndarray, inverse: bool = False) -> np.ndarray:
    """Matches the rows of one frame to those of the next.

    Args:
        cost: Costs (Q, Q) between the rows of both frames.
        order: Order (Q,) of the first frame.
        inverse: See :func:`chain_orders`.

    Returns:
        Order (Q,) of the next frame.
    """
    after = linear_sum_assignment(cost[order])[1]
    return np.argsort(after) if inverse else after


def track_orders(embeds: Tensor, reference: Tensor | None = None, inverse: bool = False) -> Tensor:
    """Orders of a clip that continues or starts its videos.

    Args:
        embeds: Embeddings (B, T, Q, D) to match, in the query order of the segmenter.
        reference: Embeddings (B, Q, D) of the last frame before the clip, in track order. If None, the videos start
            with this clip and the first frame keeps its order.
        inverse: See :func:`chain_orders`.

    Returns:
        Order (B, T, Q) int64.
    """
    if reference is None:
        first = torch.arange(embeds.shape[2], device=embeds.device).expand(len(embeds), 1, -1)
        rest = chain_orders(embeds[:, 1:], embeds[:, 0], inverse) if embeds.shape[1] > 1 else first[:, :0]
        return torch.cat([first, rest], 1)
    return chain_orders(embeds, reference, inverse)


def last_present(values: Tensor, present: Tensor, before: Tensor | None = None) -> Tensor:
    """Value of the last present frame of each video.

    Args:
        values: Values (B, T, ...) of each frame.
        present: Bool (B, T), True for the first frames of the clip and False for its padding frames.
        before: Values (B, ...) returned for videos without a present frame.

    Returns:
        Values (B, ...).

    Raises:
        ValueError: A video has no present frame and ``before`` is None.
    """
    if before is None and not present.any(1).all():
        raise ValueError(
            'the first clip of a video must have at least one present frame, got none; check the padding of the clip'
        )
    length = present.sum(1)  # present frames are a prefix of the clip
    index = (length - 1).clamp(min=0).view(-1, *[1] * (values.dim() - 1)).expand(-1, 1, *values.shape[2:])
    last = values.gather(1, index)[:, 0]
    if before is None:
        return last
    return torch.where((length > 0).view(-1, *[1] * (last.dim() - 1)), last, before)
