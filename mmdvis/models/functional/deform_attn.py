"""Multi-scale deformable attention (Deformable DETR, arXiv:2010.04159) as one function with a choice of kernels."""

import warnings
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmdvis.mmcv_ops_fallback import has_compiled_ops

from .point_sampling import neighbours


def deformable_attention(
    value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
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
    if value.is_cuda and triton_runs(value.device):
        from .deform_triton import triton_attention

        return triton_attention(value, shapes, locations, weights)
    return gathered_attention(value, shapes, locations, weights)


@cache
def triton_runs(device: torch.device) -> bool:
    """Whether a first, small call of the Triton kernels succeeds; where it does not, one sentence says so, once."""
    try:
        from .deform_triton import triton_attention

        locations = torch.full((1, 1, 1, 1, 1, 2), 0.5, device=device)
        value = torch.ones(1, 1, 1, 16, device=device, requires_grad=True)
        with torch.enable_grad():
            found = triton_attention(value, [(1, 1)], locations, torch.ones(1, 1, 1, 1, 1, device=device)).sum()
        if not abs(found.item() - 16) + abs(torch.autograd.grad(found, value)[0].sum().item() - 16) < 1e-3:
            raise ArithmeticError('wrong sums')
        return True
    except Exception as error:  # Triton calls a C compiler, and what that may raise is nowhere written
        warnings.warn(
            f'Triton does not run here ({type(error).__name__}: {str(error).strip().splitlines()[-1:]}), so deformable '
            'attention gathers in PyTorch, which is slower; a C compiler, or mmcv with its operators, mends it',
            stacklevel=2,
        )
        return False


def gathered_attention(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """The plain form: every output is a weighted sum of four rows a sample, on any device; clip by clip, to stay in the cache."""
    heads, levels, points = weights.shape[2:]
    grid = sample_grid(shapes, heads, points, value.device)
    found = []
    for tokens, spot, weight in zip(value, locations, weights):
        rows, share = sampled_rows(spot.reshape(len(spot), -1, 2), weight.reshape(len(weight), -1), grid, heads)
        size = (len(spot) * heads, 4 * levels * points)
        found.append(
            WeightedRows.apply(tokens.reshape(-1, tokens.shape[-1]), rows.view(size), share.view(size).to(value.dtype))
        )
    return torch.stack(found).view(len(value), -1, heads * value.shape[-1])


class SampleGrid(NamedTuple):
    """For each of the heads * levels * points samples of a query, each (heads * levels * points,) float.

    Attributes:
        width, height: of the level.
        stride: rows of the table between two lines of the map.
        first: row of the map's first pixel.
    """

    width: Tensor
    height: Tensor
    stride: Tensor
    first: Tensor


def sample_grid(shapes: Sequence[tuple[int, int]], heads: int, points: int, device: torch.device) -> SampleGrid:
    """The levels' sizes, in the order of a query's samples; row ``token * heads + head`` of the table is one head's token."""
    starts = [0, *accumulate(h * w for h, w in shapes)]
    if starts[-1] * heads >= 1 << 24:
        raise ValueError(f'{starts[-1]} tokens of {heads} heads are more than float32 can number; use smaller frames')
    levels = torch.tensor(
        [(w, h, w * heads, start * heads) for (h, w), start in zip(shapes, starts)], dtype=torch.float32, device=device
    )
    width, height, stride, first = levels.repeat_interleave(points, 0).repeat(heads, 1).T.contiguous()
    return SampleGrid(
        width, height, stride, first + torch.arange(heads, device=device).repeat_interleave(len(shapes) * points)
    )


def sampled_rows(spots: Tensor, weights: Tensor, grid: SampleGrid, heads: int) -> tuple[Tensor, Tensor]:
    """The four neighbours of every sample and what each of them counts.

    Args:
        spots (N, S, 2): normalised (x, y) of S = heads * levels * points samples.
        weights (N, S): of the samples.
        grid: of the samples.
        heads: their number.

    Returns:
        rows of the table, int32, and shares, both (N, heads, 4, levels * points).
    """
    exact = torch.promote_types(spots.dtype, torch.float32)
    x, y = (spots[..., k].to(exact) * size - 0.5 for k, size in enumerate((grid.width, grid.height)))
    (left, left_share), (right, right_share) = neighbours(x, grid.width)
    (top, top_share), (bottom, bottom_share) = neighbours(y, grid.height)
    top_share, bottom_share = top_share * weights, bottom_share * weights
    left, right = left * heads, right * heads
    top, bottom = top * grid.stride + grid.first, bottom * grid.stride + grid.first

    def together(*corners: Tensor) -> Tensor:
        return torch.cat([corner.unflatten(-1, (heads, 1, -1)) for corner in corners], 2)

    rows = together(top + left, top + right, bottom + left, bottom + right)
    share = together(
        top_share * left_share, top_share * right_share, bottom_share * left_share, bottom_share * right_share
    )
    return rows.int(), share


class WeightedRows(torch.autograd.Function):
    """Sums of weighted rows of a table; its gradients gather, too, where those of ``F.embedding_bag`` scatter."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, share: Tensor) -> Tensor:
        """Table (R, d), rows (N, S) int32, share (N, S) -> (N, d)."""
        ctx.save_for_backward(table, rows, share)
        return F.embedding_bag(rows, table, mode='sum', per_sample_weights=share)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        """Grad (N, d) -> gradients of the table and of the shares."""
        table, rows, share = ctx.saved_tensors
        grad, (bags, samples), flat = grad.contiguous(), rows.shape, rows.flatten()
        of_table = of_share = None
        if ctx.needs_input_grad[0]:  # each row of the table collects the outputs that it went into
            order = flat.argsort()
            number = torch.bincount(flat, minlength=len(table))
            of_table = F.embedding_bag(
                order.div(samples, rounding_mode='floor'),
                grad,
                number.cumsum(0) - number,
                mode='sum',
                per_sample_weights=share.flatten().index_select(0, order),
            )
        if ctx.needs_input_grad[2]:
            starts = torch.arange(0, bags * samples, samples, dtype=rows.dtype, device=rows.device)
            owner = torch.arange(bags, dtype=rows.dtype, device=rows.device).repeat_interleave(samples)
            of_share = torch.ops.aten._embedding_bag_per_sample_weights_backward(grad, table, flat, starts, owner, 0)
        return of_table, None, None if of_share is None else of_share.view_as(share)


def compiled_attention(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Mmcv's CUDA operator, which knows no half precision; the batch must be a multiple of its step, so the step is the batch."""
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    sizes = torch.as_tensor(shapes, dtype=torch.long, device=value.device)
    starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
    found = MultiScaleDeformableAttnFunction.apply(
        value.float(), sizes, starts, locations.float(), weights.float(), len(value)
    )
    return found.to(value.dtype)
