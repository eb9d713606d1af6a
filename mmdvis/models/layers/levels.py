"""Conversions between maps and tokens of several levels, and the positions of their pixels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdvis.checks import Size


def split_levels(x: Tensor, shapes: Sequence[Size]) -> list[Tensor]:
    """Splits tokens (B, N, C) of several levels into maps (B, C, h, w) in the channels-last memory layout."""
    parts = x.split([h * w for h, w in shapes], 1)
    # with transpose and unflatten, PyTorch would not recognise the layout for B = 1
    return [part.unflatten(1, shape).permute(0, 3, 1, 2) for part, shape in zip(parts, shapes)]


def join_levels(maps: Sequence[Tensor]) -> Tensor:
    """Concatenates the maps (B, C, h, w) of several levels as tokens (B, N, C)."""
    return torch.cat([x.flatten(2).transpose(1, 2) for x in maps], 1)


def patch_map(tokens: Tensor, size: Size) -> Tensor:
    """The patch tokens, which are the last of the tokens (B, N, C), as a map (B, C, h, w)."""
    return split_levels(tokens[:, -size[0] * size[1] :], [size])[0]


def grid_centres(height: int, width: int, like: Tensor) -> Tensor:
    """Normalised (x, y) pixel centres (height * width, 2) of a map, in float32 or higher precision."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    y = (torch.arange(height, device=like.device, dtype=dtype) + 0.5) / height
    x = (torch.arange(width, device=like.device, dtype=dtype) + 0.5) / width
    rows, columns = torch.meshgrid(y, x, indexing='ij')
    return torch.stack([columns, rows], -1).flatten(0, 1)
