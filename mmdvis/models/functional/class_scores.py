"""Class probabilities of a video from the class logits of its frames."""

import torch
from torch import Tensor


def mean_logits(logits: Tensor, valid: Tensor) -> Tensor:
    """Mean class logits of each query over its valid frames.

    Args:
        logits: Class logits (T, Q, K + 1).
        valid: Bool (T, Q), True for the frames that are averaged.

    Returns:
        Mean logits (Q, K + 1) float32, zero for a query without a valid frame.
    """
    logits = logits.float()
    weight = valid[..., None].to(logits.dtype)
    return (logits * weight).sum(0) / weight.sum(0).clamp(min=1)


def video_scores(logits: Tensor, valid: Tensor, tracked: Tensor | None = None) -> Tensor:
    """Class probabilities of a whole video.

    Logits rather than probabilities are averaged over time. With a refiner, the probabilities of refiner and tracker
    are combined by :func:`join_scores` (DVIS, inference of the offline model).

    Args:
        logits: Class logits (T, Q, K + 1) of the last stage.
        valid: Bool (T, Q), True for the frames in which a query is valid.
        tracked: Class logits (T, Q, K + 1) of the tracker if ``logits`` come from a refiner.

    Returns:
        Class probabilities (Q, K + 1).
    """
    probs = mean_logits(logits, valid).softmax(-1)
    if tracked is None:
        return probs
    return join_scores(probs, mean_logits(tracked, valid).softmax(-1))


def join_scores(refined: Tensor, tracked: Tensor) -> Tensor:
    """Element-wise maximum of two class probabilities; the no-object probability is taken from ``refined``.

    Args:
        refined: Class probabilities (..., K + 1) of the refiner; the last column is no object.
        tracked: Class probabilities (..., K + 1) of the tracker.

    Returns:
        Combined probabilities (..., K + 1).
    """
    return torch.cat([torch.maximum(refined, tracked)[..., :-1], refined[..., -1:]], -1)


def running_scores(logits: Tensor, total: Tensor | float = 0.0, num_before: int = 0) -> Tensor:
    """Causal class probabilities: row t is the softmax of the mean logits of all frames up to t.

    Args:
        logits: Class logits (T, Q, K + 1) of this clip.
        total: Sum (Q, K + 1) of the logits of the previous frames of the video.
        num_before: Number of previous frames.

    Returns:
        Class probabilities (T, Q, K + 1).
    """
    logits = logits.float()  # half precision cannot represent sums over a long video
    count = torch.arange(1, len(logits) + 1, device=logits.device, dtype=logits.dtype) + num_before
    return ((total + logits.cumsum(0)) / count[:, None, None]).softmax(-1)


def causal_scores(
    logits: Tensor,
    tracked: Tensor | None = None,
    totals: tuple[Tensor | float, Tensor | float] = (0.0, 0.0),
    num_before: int = 0,
) -> Tensor:
    """Causal counterpart of :func:`video_scores`: the scores of a frame depend only on the frames up to it.

    Args:
        logits: Class logits (T, Q, K + 1) of the last stage.
        tracked: Class logits (T, Q, K + 1) of the tracker if ``logits`` come from a refiner.
        totals: Sums (Q, K + 1) of ``logits`` and ``tracked`` over the previous frames of the video.
        num_before: Number of previous frames.

    Returns:
        Class probabilities (T, Q, K + 1).
    """
    scores = running_scores(logits, totals[0], num_before)
    return scores if tracked is None else join_scores(scores, running_scores(tracked, totals[1], num_before))
