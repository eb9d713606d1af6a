"""Full precision inside autocast, and autocast by the name of a precision."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager:
    """A context without autocast on the device of a tensor; tensors without memory (``'meta'``) have none to turn off."""
    return nullcontext() if like.device.type == 'meta' else torch.autocast(like.device.type, enabled=False)


PRECISIONS = dict(fp32=None, bf16=torch.bfloat16, fp16=torch.float16)


def mixed_precision(name: str, device: torch.device) -> AbstractContextManager:
    """A context in which products run in a precision: ``'fp32'`` (what is around stays), ``'bf16'`` or ``'fp16'``."""
    dtype = PRECISIONS[name]
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)


def runs_in_bfloat16(like: Tensor) -> bool:
    """Whether autocast to bfloat16 is on where a tensor is."""
    kind = like.device.type
    return kind != 'meta' and torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16
