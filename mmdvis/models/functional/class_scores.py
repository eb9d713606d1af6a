"""From class logits of frames to class probabilities of a video."""

import torch
from torch import Tensor


def mean_logits(logits: Tensor, valid: Tensor) -> Tensor:
    """Mean over the valid frames of (T, Q, K + 1), with valid (T, Q) -> (Q, K + 1); a row never valid gets zeros."""
    logits = logits.float()
    weight = valid[..., None].to(logits.dtype)
    return (logits * weight).sum(0) / weight.sum(0).clamp(min=1)


def video_scores(logits: Tensor, valid: Tensor, tracked: Tensor | None = None) -> Tensor:
    """Class probabilities (Q, K + 1) of a whole video.

    Logits, not probabilities, are averaged over time. Where a refiner gave ``logits``, its class probabilities are raised
    to those of the ``tracked`` logits; the column of no object stays the refiner's (DVIS, inference of the offline model).

    Args:
        logits (T, Q, K + 1), valid (T, Q): of the last stage.
        tracked (T, Q, K + 1): of the tracker, if a refiner follows it.
    """
    probs = mean_logits(logits, valid).softmax(-1)
    if tracked is None:
        return probs
    return join_scores(probs, mean_logits(tracked, valid).softmax(-1))


def join_scores(refined: Tensor, tracked: Tensor) -> Tensor:
    """The better of two class probabilities (..., K + 1); the last column, no object, is that of ``refined``."""
    return torch.cat([torch.maximum(refined, tracked)[..., :-1], refined[..., -1:]], -1)


def running_scores(logits: Tensor, total: Tensor | float = 0.0, num_before: int = 0) -> Tensor:
    """Causal probabilities (T, Q, K + 1): row t is the softmax of the mean logits of all frames up to t.

    Args:
        logits (T, Q, K + 1): of this clip.
        total (Q, K + 1): sum of the logits of the ``num_before`` frames before it.
    """
    logits = logits.float()  # sums over a long video do not fit half precision
    count = torch.arange(1, len(logits) + 1, device=logits.device, dtype=logits.dtype) + num_before
    return ((total + logits.cumsum(0)) / count[:, None, None]).softmax(-1)


def causal_scores(
    logits: Tensor,
    tracked: Tensor | None = None,
    totals: tuple[Tensor | float, Tensor | float] = (0.0, 0.0),
    num_before: int = 0,
) -> Tensor:
    """What :func:`video_scores` is for a whole video, for every frame by the frames up to it: (T, Q, K + 1).

    Args:
        logits, tracked: as there.
        totals: sums of both over the ``num_before`` frames before this clip.
    """
    scores = running_scores(logits, totals[0], num_before)
    return scores if tracked is None else join_scores(scores, running_scores(tracked, totals[1], num_before))
