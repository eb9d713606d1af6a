"""Contexts that disable or enable mixed precision."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager:
    """Context without autocast on the device of ``like``; a null context for ``'meta'`` tensors."""
    return nullcontext() if like.device.type == 'meta' else torch.autocast(like.device.type, enabled=False)


PRECISIONS = dict(fp32=None, bf16=torch.bfloat16, fp16=torch.float16)


def mixed_precision(name: str, device: torch.device) -> AbstractContextManager:
    """Context that enables autocast with the given precision.

    Args:
        name: ``'bf16'``, ``'fp16'``, or ``'fp32'``, which leaves the current autocast state unchanged.
        device: Device on which the operations run.
    """
    dtype = PRECISIONS[name]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def runs_in_bfloat16(like: Tensor) -> bool:
    """Whether autocast to bfloat16 is enabled on the device of ``like``."""
    kind = like.device.type
    return kind != 'meta' and torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16
