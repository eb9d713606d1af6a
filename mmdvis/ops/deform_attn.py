"""Multi-scale deformable attention with the arguments of mmcv."""

import torch
from torch import Tensor

from mmdvis.models.functional.deform_attn import gathered_attention

from .precision import wide


def level_shapes(shapes: Tensor) -> list[tuple[int, int]]:
    """(height, width) of each level as numbers."""
    return [(height, width) for height, width in shapes.tolist()]


def ms_deform_attn_forward(
    value: Tensor, shapes: Tensor, starts: Tensor, locations: Tensor, weights: Tensor, im2col_step: int
) -> Tensor:
    """Computes deformable attention (B, N, heads * d); see ``gathered_attention`` for the arguments.

    ``starts`` and ``im2col_step`` are accepted because mmcv passes them, and ignored.
    """
    attended = gathered_attention(wide(value), level_shapes(shapes), wide(locations), wide(weights))
    return attended.to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    shapes: Tensor,
    starts: Tensor,
    locations: Tensor,
    weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_location: Tensor,
    grad_weight: Tensor,
    im2col_step: int,
) -> None:
    """Fills the gradients of values, locations and weights; the attention is computed again."""
    with torch.enable_grad():
        leaves = [wide(tensor).detach().requires_grad_() for tensor in (value, locations, weights)]
        attended = gathered_attention(leaves[0], level_shapes(shapes), leaves[1], leaves[2])
        grads = torch.autograd.grad(attended, leaves, wide(grad_output).view_as(attended))
    for target, grad in zip((grad_value, grad_location, grad_weight), grads):
        target.copy_(grad)
