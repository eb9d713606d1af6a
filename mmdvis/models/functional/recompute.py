"""Activation checkpointing: intermediate values are recomputed in the backward pass instead of being stored."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .precision import full_precision


class Recomputed(torch.autograd.Function):
    """Activation checkpointing of a deterministic function in full precision.

    ``torch.utils.checkpoint`` is not used because it imports the PyTorch compiler, which takes seconds and about 100 MB
    of memory.
    """

    @staticmethod
    def forward(
        ctx: Any, function: Callable[..., tuple[Tensor, ...]], values: tuple[Tensor, ...], *inputs: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Returns ``values``, which must be equal to ``function(*inputs)``; inputs may be None."""
        ctx.function = function
        ctx.save_for_backward(*inputs)
        return tuple(value.clone() for value in values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the inputs that require one."""
        needs_grad = ctx.needs_input_grad[2:]
        inputs = [
            x if x is None else x.detach().requires_grad_(requires_grad)
            for x, requires_grad in zip(ctx.saved_tensors, needs_grad)
        ]
        with torch.enable_grad(), full_precision(grads[0]):
            outputs = ctx.function(*inputs)
        differentiable = [x for x, requires_grad in zip(inputs, needs_grad) if requires_grad]
        grads_iter = iter(torch.autograd.grad(outputs, differentiable, grads))
        return None, None, *(next(grads_iter) if requires_grad else None for requires_grad in needs_grad)
