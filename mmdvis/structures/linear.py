"""Linear layers and matrix products by oneDNN on a CPU."""

import platform

import torch
import torch.nn.functional as F
from torch import Tensor

SMALL = 1 << 20  # multiply-adds below which the overhead of the operator exceeds its gain


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``F.linear``, by oneDNN on a CPU if no gradients are needed.

    On a CPU, PyTorch computes float32 products with MKL, which does not use AVX-512 on processors of AMD; oneDNN does.
    Results agree up to rounding. Compiled, traced and exported code uses ``F.linear``.

    Args:
        x: Inputs (..., C).
        weight: Weights (D, C).
        bias: Biases (D,); None for none.

    Returns:
        Outputs (..., D), in the precision of autocast where it is enabled.
    """
    if not runs_in_onednn(x, weight):
        return F.linear(x, weight, bias)
    dtype = product_dtype(x)
    bias = None if bias is None else bias.to(dtype).contiguous()  # the operator ignores the strides of the bias
    return torch.ops.mkldnn._linear_pointwise(x.to(dtype), weight.to(dtype), bias, 'none', [], '')


def products(rows: Tensor, columns: Tensor) -> Tensor:
    """Matrix products (N, Q, C) @ (N, C, S) -> (N, Q, S) by :func:`linear`.

    On a CPU, it is fast for columns in the channels-last memory layout, such as those of feature maps.
    """
    if torch.compiler.is_compiling() or not rows.is_cpu or not len(rows):
        return rows @ columns
    return torch.stack([linear(one, others.T, None) for one, others in zip(rows, columns)])


def runs_in_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether :func:`linear` calls the operator of oneDNN, which has no gradients."""
    if not is_eager_inference(x, weight) or x.numel() * len(weight) < SMALL:  # sizes may be symbolic while compiling
        return False
    return product_dtype(x) == product_dtype(weight) and product_dtype(x) in ONEDNN_DTYPES


def is_eager_inference(*tensors: Tensor) -> bool:
    """Whether tensors are on the CPU and need no gradients, and operators are neither compiled nor traced."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or not tensors[0].is_cpu:
        return False
    return not (torch.is_grad_enabled() and any(x.requires_grad for x in tensors))


def product_dtype(x: Tensor) -> torch.dtype:
    """Precision of a product with a tensor on the CPU: that of autocast, which leaves float64 as it is, or its own."""
    is_cast = torch.is_autocast_enabled('cpu') and x.dtype != torch.float64
    return torch.get_autocast_dtype('cpu') if is_cast else x.dtype


def onednn_dtypes() -> tuple[torch.dtype, ...]:
    """Precisions in which this build of PyTorch and this CPU have the operator of oneDNN."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, '_linear_pointwise'):
        return ()
    has_bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if has_bfloat16 else (torch.float32,)


def has_slow_bfloat16() -> bool:
    """Whether bfloat16 matrix products are slower than float32 ones on this CPU, as on x86 CPUs without AVX-512."""
    return platform.machine() in ('x86_64', 'AMD64') and 'AVX512' not in torch.backends.cpu.get_cpu_capability()


ONEDNN_DTYPES = onednn_dtypes()
