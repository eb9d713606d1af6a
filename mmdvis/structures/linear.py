"""Linear layers that use the matrix products of oneDNN on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor

SMALL = 1 << 20  # multiply-adds below which the overhead of the operator exceeds its gain


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str = 'none') -> Tensor:
    """``F.linear``, and an optional ReLU, by oneDNN on a CPU if no gradients are needed.

    On a CPU, PyTorch computes float32 products with MKL, which does not use AVX-512 on processors of AMD; oneDNN does,
    and adds bias and activation in the same pass. Results agree up to rounding.

    Args:
        x: Inputs (..., C).
        weight: Weights (D, C).
        bias: Biases (D,); None for none.
        activation: ``'none'`` or ``'relu'``.

    Returns:
        Outputs (..., D), in the precision of autocast where it is enabled.
    """
    if not runs_in_onednn(x, weight):
        out = F.linear(x, weight, bias)
        return out.relu() if activation == 'relu' else out
    dtype = product_dtype(x)
    x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    return (compiled_linear if torch.compiler.is_compiling() else onednn_linear)(x, weight, bias, activation)


def products(rows: Tensor, columns: Tensor) -> Tensor:
    """Matrix products (N, Q, C) @ (N, C, S) -> (N, Q, S) by :func:`linear`.

    On a CPU, it is fast for columns in the channels-last memory layout, such as those of feature maps.
    """
    if torch.compiler.is_exporting() or not rows.is_cpu:
        return rows @ columns
    return torch.stack([linear(one, others.T, None) for one, others in zip(rows, columns)])


def runs_in_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether :func:`linear` calls the operator of oneDNN, which has no gradients and is not exported."""
    if torch.compiler.is_exporting() or not x.is_cpu or x.numel() * len(weight) < SMALL:
        return False
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return False
    return product_dtype(x) == product_dtype(weight) and product_dtype(x) in ONEDNN_DTYPES


def product_dtype(x: Tensor) -> torch.dtype:
    """Precision of a product with a tensor on the CPU: that of autocast, or its own."""
    return torch.get_autocast_dtype('cpu') if torch.is_autocast_enabled('cpu') else x.dtype


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """Calls the operator of oneDNN; see :func:`linear`."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], '')


@torch.library.custom_op('mmdvis::linear', mutates_args=())
def compiled_linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """:func:`onednn_linear` in compiled code; ``torch.compile`` accepts the operator itself only for constants."""
    return onednn_linear(x, weight, bias, activation)


@compiled_linear.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))


def onednn_dtypes() -> tuple[torch.dtype, ...]:
    """Precisions in which this build of PyTorch and this CPU have the operator of oneDNN."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, '_linear_pointwise'):
        return ()
    has_bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if has_bfloat16 else (torch.float32,)


ONEDNN_DTYPES = onednn_dtypes()
