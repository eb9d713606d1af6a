"""Warping of feature maps by optical flow, and local correlation."""

import torch
import torch.nn.functional as F
from torch import Tensor


def warp(features: Tensor, flow: Tensor) -> Tensor:
    """Features (B, C, h, w) read at x + flow(x), bilinearly; zero outside the map.

    Args:
        features: Features (B, C, h, w).
        flow: Flow (B, 2, h, w) in pixels of the map; channel 0 is dx, channel 1 is dy.
    """
    height, width = flow.shape[-2:]
    kind = dict(dtype=flow.dtype, device=flow.device)
    y, x = torch.meshgrid(torch.arange(height, **kind), torch.arange(width, **kind), indexing='ij')
    size = torch.tensor(features.shape[:1:-1], **kind)  # width, height
    positions = torch.stack([x + flow[:, 0], y + flow[:, 1]], -1)
    grid = (2 * positions + 1) / size - 1  # pixel centres at half integers, as grid_sample without aligned corners
    return F.grid_sample(features, grid.to(features.dtype), mode='bilinear', padding_mode='zeros', align_corners=False)


def local_correlation(first: Tensor, second: Tensor, radius: int = 4) -> Tensor:
    """Mean products of features with those of a neighbourhood.

    Args:
        first: Features (B, C, h, w).
        second: Features (B, C, h, w), zero outside the map.
        radius: Largest shift in pixels.

    Returns:
        Correlation (B, (2 * radius + 1) ** 2, h, w); the shift along y is the outer one.
    """
    height, width = first.shape[-2:]
    padded = F.pad(second, (radius,) * 4)
    shifts = range(2 * radius + 1)
    views = (padded[..., dy : dy + height, dx : dx + width] for dy in shifts for dx in shifts)
    return torch.stack([(first * view).mean(1) for view in views], 1)
