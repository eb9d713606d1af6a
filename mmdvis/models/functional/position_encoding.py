"""Sinusoidal position encoding of feature maps (DETR, arXiv:2005.12872)."""

import math

import torch
from torch import Tensor


def sine_encoding(height: int, width: int, channels: int, like: Tensor, temperature: float = 1e4) -> Tensor:
    """Sinusoidal position encoding of a map, with coordinates normalised to 2 pi.

    Args:
        height: Height of the map.
        width: Width of the map.
        channels: Number of channels; the first half encodes y, the second half x.
        like: Tensor with the dtype and device of the result.
        temperature: Base of the wavelengths.

    Returns:
        Encoding (height * width, channels).
    """
    half = channels // 2
    step = torch.arange(half, device=like.device, dtype=torch.float32)
    period = temperature ** (2 * (step // 2) / half)

    def axis(length: int) -> Tensor:  # (length, half), sine and cosine alternate
        position = torch.arange(1, length + 1, device=like.device, dtype=torch.float32)
        angle = (position / (length + 1e-6) * 2 * math.pi)[:, None] / period
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], -1).flatten(1)

    rows = axis(height)[:, None].expand(-1, width, -1)
    columns = axis(width)[None].expand(height, -1, -1)
    return torch.cat([rows, columns], -1).flatten(0, 1).to(like.dtype)
