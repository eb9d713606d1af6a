"""Optical flow (2, H, W): displacement dx, dy in pixels from a key frame into a reference."""

import torch.nn.functional as F
from torch import Tensor


def quarter_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """A flow (2, H, W) as means over the cells of a grid ``size``, in cells of the grid."""
    height, width = flow.shape[-2:]
    scale = flow.new_tensor([size[1] / width, size[0] / height]).view(2, 1, 1)
    return F.adaptive_avg_pool2d(flow[None], size)[0] * scale
