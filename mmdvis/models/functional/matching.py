"""Assignments between the queries of two frames."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from .precision import full_precision


def cosine_distance(a: Tensor, b: Tensor, eps: float = 1e-6) -> Tensor:
    """(..., N, C), (..., M, C) -> (..., N, M) in [0, 2]."""
    a, b = (x / (x.norm(dim=-1, keepdim=True) + eps) for x in (a.float(), b.float()))
    return 1 - a @ b.transpose(-1, -2)


def chain_orders(embeds: Tensor, reference: Tensor, inverse: bool = False) -> Tensor:
    """Follows every row of ``reference`` through the frames of clips, frame to frame, by Hungarian matching.

    The cost of two neighbouring frames does not depend on how their rows are ordered, so all costs are one batched product
    and one copy to the host; only the small assignments run one after the other.

    Args:
        embeds (B, T, Q, D): what is matched, in the order the segmenter gave.
        reference (B, Q, D): the rows to follow, in track order.
        inverse: gather with the inverse permutation, as the released DVIS v1 code does
            (``video_dvis_modules.py``, ``match_embds``); needed by weights that were trained with it.

    Returns:
        order (B, T, Q) int64: ``embeds[b, t, order[b, t, q]]`` continues row q.
    """
    cost = pair_costs(torch.cat([reference[:, None], embeds], 1))
    orders = np.empty(cost.shape[:3], dtype=np.int64)
    for b, frames in enumerate(cost):
        order = np.arange(cost.shape[-1])  # the reference comes in track order
        for t, frame in enumerate(frames):
            orders[b, t] = order = follow(frame, order, inverse)
    return torch.from_numpy(orders).to(embeds.device)


def pair_costs(embeds: Tensor) -> np.ndarray:
    """Cosine distances (B, T - 1, Q, Q) of every frame's rows to those of the next, on the host."""
    with full_precision(embeds):  # half precision would mix up look-alikes
        return cosine_distance(embeds[:, :-1].detach(), embeds[:, 1:].detach()).nan_to_num(0).cpu().numpy()


def follow(cost: np.ndarray, order: np.ndarray, inverse: bool = False) -> np.ndarray:
    """The next frame's order (Q,), given the costs (Q, Q) between two frames' rows and the order of the first."""
    after = linear_sum_assignment(cost[order])[1]
    return np.argsort(after) if inverse else after


def track_orders(embeds: Tensor, reference: Tensor | None = None, inverse: bool = False) -> Tensor:
    """Orders of a clip (B, T, Q) from where ``reference`` (B, Q, D) left the videos; None begins at the first frame."""
    if reference is None:
        first = torch.arange(embeds.shape[2], device=embeds.device).expand(len(embeds), 1, -1)
        rest = chain_orders(embeds[:, 1:], embeds[:, 0], inverse) if embeds.shape[1] > 1 else first[:, :0]
        return torch.cat([first, rest], 1)
    return chain_orders(embeds, reference, inverse)


def last_present(values: Tensor, present: Tensor, before: Tensor | None = None) -> Tensor:
    """The value of each video's last present frame: (B, T, ...), (B, T) -> (B, ...); ``before`` where there is none.

    Raises:
        ValueError: a video has no present frame and there is nothing ``before`` it.
    """
    if before is None and not present.any(1).all():
        raise ValueError('a video cannot begin with a clip that has no present frame')
    length = present.sum(1)  # present frames are a prefix of the clip
    index = (length - 1).clamp(min=0).view(-1, *[1] * (values.dim() - 1)).expand(-1, 1, *values.shape[2:])
    last = values.gather(1, index)[:, 0]
    if before is None:
        return last
    return torch.where((length > 0).view(-1, *[1] * (last.dim() - 1)), last, before)
