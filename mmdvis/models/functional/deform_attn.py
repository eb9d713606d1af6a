"""Multi-scale deformable attention (Deformable DETR, arXiv:2010.04159) as one function with a choice of kernels."""
from typing import Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.compat import has_compiled_ops

from .point_sampling import corners


def deformable_attention(value: Tensor, shapes: Sequence[Tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples.

    Args:
        value (B, S, heads, d): tokens of all levels, one level after the other.
        shapes: (height, width) of each level; their areas add up to S.
        locations (B, N, heads, levels, points, 2): normalised (x, y).
        weights (B, N, heads, levels, points): sum to one over levels and points.

    Returns:
        (B, N, heads * d)
    """
    if value.is_cuda and has_compiled_ops():
        return compiled_attention(value, shapes, locations, weights)
    return gathered_attention(value, shapes, locations, weights)


def gathered_attention(value: Tensor, shapes: Sequence[Tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """The plain form: every output is one bag of four corners a sample, on any device."""
    batch, total, heads, width = value.shape
    num_queries = locations.shape[1]
    index, share, start = [], [], 0
    for level, (h, w) in enumerate(shapes):
        spot, bilinear = corners(locations[:, :, :, level], h, w)  # (4, B, N, heads, points)
        index.append(spot + start)
        share.append(bilinear * weights[:, :, :, level])
        start += h * w
    token = torch.cat([x.permute(1, 2, 3, 4, 0).flatten(3) for x in index], -1)  # (B, N, heads, samples)
    share = torch.cat([x.permute(1, 2, 3, 4, 0).flatten(3) for x in share], -1)
    video = torch.arange(batch, device=value.device).view(-1, 1, 1, 1)
    head = torch.arange(heads, device=value.device).view(1, 1, -1, 1)
    rows = (video * total + token) * heads + head
    bags = F.embedding_bag(rows.flatten(0, 2), value.reshape(-1, width), mode='sum',
                           per_sample_weights=share.flatten(0, 2).to(value.dtype))
    return bags.view(batch, num_queries, heads * width)


def compiled_attention(value: Tensor, shapes: Sequence[Tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """mmcv's CUDA operator; the batch must be a multiple of its step, so the step is the batch."""
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
    sizes = torch.as_tensor(shapes, dtype=torch.long, device=value.device)
    starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
    return MultiScaleDeformableAttnFunction.apply(value, sizes, starts, locations, weights, len(value))
