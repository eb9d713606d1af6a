"""Full precision inside autocast."""
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(like: Tensor) -> AbstractContextManager:
    """A context without autocast on the device of a tensor; tensors without memory (``'meta'``) have none to turn off."""
    return nullcontext() if like.device.type == 'meta' else torch.autocast(like.device.type, enabled=False)
