"""Focal losses of single scores, by sigmoid or softmax (arXiv:1708.02002)."""

import torch
from torch import Tensor

from .precision import wide

SMALLEST = torch.finfo(torch.float32).tiny  # probabilities below it are raised to it before the logarithm


def class_weights(weight: Tensor, target: Tensor) -> Tensor | float:
    """Weight (n,) of each target's class; 1 without weights, and for targets that are no class."""
    if not len(weight):
        return 1.0
    is_class = target < len(weight)
    return torch.where(is_class, wide(weight)[target.clamp(max=len(weight) - 1)], torch.ones_like(wide(weight)[:1]))


def sigmoid_parts(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (n, c), and whether each class is the target."""
    classes = torch.arange(scores.shape[1], device=scores.device)
    return wide(scores).sigmoid(), target[:, None] == classes


def sigmoid_focal_loss_forward(
    scores: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fills the losses (n, c) of scores (n, c) with targets (n,) in [0, c]; c means that no class is present.

    Args:
        scores: Scores before the sigmoid.
        target: Class of each row.
        weight: Weights (c,) of the classes; empty for none.
        output: Filled.
        gamma: Exponent that lowers the loss of easy examples.
        alpha: Weight of the present class; 1 - alpha for the others.
    """
    share, is_target = sigmoid_parts(scores, target)
    present = -alpha * (1 - share).pow(gamma) * share.clamp(min=SMALLEST).log()
    absent = -(1 - alpha) * share.pow(gamma) * (1 - share).clamp(min=SMALLEST).log()
    losses = torch.where(is_target, present, absent)
    factors = class_weights(weight, target)
    output.copy_(losses * (factors[:, None] if torch.is_tensor(factors) else factors))


def sigmoid_focal_loss_backward(
    scores: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Fills the derivatives (n, c) of the losses; see :func:`sigmoid_focal_loss_forward`."""
    share, is_target = sigmoid_parts(scores, target)
    log_present, log_absent = share.clamp(min=SMALLEST).log(), (1 - share).clamp(min=SMALLEST).log()
    present = -alpha * (1 - share).pow(gamma) * (1 - share - gamma * share * log_present)
    absent = -(1 - alpha) * share.pow(gamma) * (gamma * (1 - share) * log_absent - share)
    factors = class_weights(weight, target)
    grads = torch.where(is_target, present, absent)
    grad_input.copy_(grads * (factors[:, None] if torch.is_tensor(factors) else factors))


def softmax_focal_loss_forward(
    shares: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Fills the losses (n,) of class probabilities (n, c) with targets (n,) in [0, c); negative targets have none."""
    is_known, probability = target >= 0, target_share(shares, target)
    losses = -alpha * (1 - probability).pow(gamma) * probability.clamp(min=SMALLEST).log()
    output.copy_(losses * class_weights(weight, target.clamp(min=0)) * is_known)


def softmax_focal_loss_backward(
    shares: Tensor, target: Tensor, weight: Tensor, buffer: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Writes the gradient of the loss by the logits (n, c) to ``grad_input``; ``shares`` (n, c) are the probabilities.

    ``buffer`` (n,) receives the derivative by the log-probability of the target class.
    """
    is_known, probability = target >= 0, target_share(shares, target)
    logarithm = probability.clamp(min=SMALLEST).log()
    slope = gamma * (1 - probability).pow(gamma - 1) * probability * logarithm - (1 - probability).pow(gamma)
    slope = alpha * slope * class_weights(weight, target.clamp(min=0)) * is_known
    buffer.copy_(slope)
    classes = torch.arange(shares.shape[1], device=shares.device)
    grad_input.copy_(slope[:, None] * ((target[:, None] == classes).to(slope.dtype) - wide(shares)))


def target_share(shares: Tensor, target: Tensor) -> Tensor:
    """Probability (n,) of the target of each row."""
    return wide(shares).gather(1, target.clamp(min=0)[:, None])[:, 0]
