"""A function whose intermediate values are made again for its gradients instead of being kept."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .precision import full_precision


class Recomputed(torch.autograd.Function):
    """What ``torch.utils.checkpoint`` does, for functions without randomness in full precision, and without its compiler.

    ``torch.utils.checkpoint`` imports that compiler, which takes seconds and a hundred megabytes.
    """

    @staticmethod
    def forward(
        ctx: Any, function: Callable[..., tuple[Tensor, ...]], values: tuple[Tensor, ...], *inputs: Tensor | None
    ) -> tuple[Tensor, ...]:
        """``values``, which must be ``function(*inputs)`` as the caller has found it; inputs that are None stay so."""
        ctx.function = function
        ctx.save_for_backward(*inputs)
        return tuple(value.clone() for value in values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the inputs that want one."""
        wanted = ctx.needs_input_grad[2:]
        inputs = [x if x is None else x.detach().requires_grad_(wants) for x, wants in zip(ctx.saved_tensors, wanted)]
        with torch.enable_grad(), full_precision(grads[0]):
            outputs = ctx.function(*inputs)
        leaves = [x for x, wants in zip(inputs, wanted) if wants]
        found = iter(torch.autograd.grad(outputs, leaves, grads))
        return None, None, *(next(found) if wants else None for wants in wanted)
