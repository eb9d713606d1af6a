"""The precision in which operators compute."""

import torch
from torch import Tensor


def wide(tensor: Tensor) -> Tensor:
    """A floating point tensor in float32, or as it is if it is float64."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
