"""Multi-scale deformable attention (Deformable DETR, arXiv:2010.04159) with a choice of kernels."""

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

from .numba_support import can_leave_pytorch, works

NUMBA_DTYPES = (torch.float32, torch.bfloat16)
QUERIES = 1 << 12  # queries that are processed at once on a CPU without gradients


def deformable_attention(
    value: Tensor, shapes: Sequence[tuple[int, int]], reference: Tensor, offsets: Tensor, weights: Tensor
) -> Tensor:
    """Multi-scale deformable attention: weighted sums of bilinear samples.

    Exported graphs use ``grid_sample``, which other runtimes have. On a GPU, mmcv's CUDA operator is used if it is
    compiled, otherwise Triton if it works; on a CPU without gradients, Numba. PyTorch is used in all other cases.

    Args:
        value: Tokens (B, S, heads, d) of all levels, concatenated.
        shapes: (height, width) of each level; the areas sum to S.
        reference: Normalised (x, y) reference points (N, levels, 2) of each query.
        offsets: Offsets (B, N, heads, levels, points, 2) from the reference points, in pixels of the level.
        weights: Attention weights (B, N, heads, levels, points), summing to one over levels and points.

    Returns:
        Attended values (B, N, heads * d).
    """
    if can_run_in_numba(value, reference, offsets, weights) and numba_runs(value.shape[-1], value.dtype):
        from .deform_numba import numba_attention

        return numba_attention(value, shapes, reference, offsets, weights)
    locations = sampling_locations(reference, offsets, shapes)
    if torch.compiler.is_exporting():
        return grid_sample_attention(value, shapes, locations, weights)
    if value.is_cuda and has_compiled_ops():
        return compiled_attention(value, shapes, locations, weights)
    if value.is_cuda and triton_runs(value.device):
        from .deform_triton import triton_attention

        return triton_attention(value, shapes, locations, weights)
    return gathered_attention(value, shapes, locations, weights)


def sampling_locations(reference: Tensor, offsets: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
    """Normalised (x, y) sampling locations (B, N, heads, levels, points, 2); see :func:`deformable_attention`."""
    heads, points = offsets.shape[2], offsets.shape[4]
    size = torch.tensor([(w, h) for h, w in shapes], dtype=offsets.dtype, device=offsets.device)
    # constants are expanded to whole rows because broadcasting a short last dimension is slow
    scale = (1 / size)[:, None].expand(-1, points, -1).flatten().repeat(heads)
    centre = reference[:, :, None].expand(-1, -1, points, -1).flatten(1).repeat(1, heads)
    return torch.addcmul(centre, offsets.flatten(2), scale).view_as(offsets)


def grid_sample_attention(
    value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """Deformable attention with ``grid_sample``, for exported graphs.

    Args:
        value: Tokens (B, S, heads, d) of all levels, concatenated.
        shapes: (height, width) of each level.
        locations: Normalised (x, y) sampling locations (B, N, heads, levels, points, 2).
        weights: Attention weights (B, N, heads, levels, points).

    Returns:
        Attended values (B, N, heads * d).
    """
    batch, _, heads, width = value.shape
    num_queries, sampled = locations.shape[1], []
    for level, ((h, w), level_value) in enumerate(zip(shapes, value.split([h * w for h, w in shapes], 1))):
        maps = level_value.permute(0, 2, 3, 1).reshape(batch * heads, width, h, w)
        grid = (2 * locations[:, :, :, level] - 1).transpose(1, 2).flatten(0, 1)
        sampled.append(F.grid_sample(maps, grid, align_corners=False))  # (B * heads, d, N, points)
    attn_weights = weights.transpose(1, 2).reshape(batch * heads, 1, num_queries, -1)
    output = (torch.stack(sampled, -2).flatten(-2) * attn_weights).sum(-1)
    return output.view(batch, heads * width, num_queries).transpose(1, 2).contiguous()


def can_run_in_numba(value: Tensor, *others: Tensor) -> bool:
    """Whether the Numba kernel supports tensors of :func:`deformable_attention`, and may replace PyTorch.

    Args:
        value: Values.
        others: Reference points, offsets and weights.
    """
    if not can_leave_pytorch(value, *others):
        return False
    has_exact_rows = value.shape[1] * value.shape[2] < 1 << 24  # rows are computed in float32
    return value.dtype in NUMBA_DTYPES and all(x.dtype == torch.float32 for x in others) and has_exact_rows


@cache
def numba_runs(width: int, dtype: torch.dtype) -> bool:
    """Whether the Numba kernel works, and the threads of PyTorch can be used; a failure of the kernel causes a warning.

    Args:
        width: Channels of a head.
        dtype: Type of the values.
    """

    def trial() -> bool:
        from .deform_numba import numba_attention, openmp

        float32: dict[str, Any] = dict(dtype=torch.float32, device='cpu')
        value = torch.ones(1, 1, 1, width, dtype=dtype, device='cpu')
        weights = torch.ones(1, 1, 1, 1, 1, **float32)
        offsets, reference = torch.zeros(1, 1, 1, 1, 1, 2, **float32), torch.full((1, 1, 2), 0.5, **float32)
        if not torch.equal(numba_attention(value, [(1, 1)], reference, offsets, weights), value[0].flatten(1)[None]):
            raise ArithmeticError('the kernel returns wrong values')
        return openmp() is not None

    return works(trial, 'deformable attention')


@cache
def triton_runs(device: torch.device) -> bool:
    """Whether the Triton kernels work on a device.

    A small forward and backward pass is tried once per device. A failure is reported by a warning.
    """
    try:
        from .deform_triton import triton_attention

        locations = torch.full((1, 1, 1, 1, 1, 2), 0.5, device=device)
        value = torch.ones(1, 1, 1, 16, device=device, requires_grad=True)
        with torch.enable_grad():
            total = triton_attention(value, [(1, 1)], locations, torch.ones(1, 1, 1, 1, 1, device=device)).sum()
        if not abs(total.item() - 16) + abs(torch.autograd.grad(total, value)[0].sum().item() - 16) < 1e-3:
            raise ArithmeticError('the Triton kernels return wrong values')
        return True
    except Exception as error:  # Triton calls a C compiler, whose exceptions are not documented
        warnings.warn(
            f'Triton is not usable ({type(error).__name__}: {str(error).strip().splitlines()[-1:]}), so deformable '
            'attention runs in PyTorch, which is slower; install a C compiler, or mmcv with compiled operators, to '
            'enable the fast kernels',
            stacklevel=2,
        )
        return False


def gathered_attention(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """PyTorch implementation for any device: each output is a weighted sum of four table rows per sample.

    Batch entries, and on a CPU without gradients also chunks of queries, are processed one after the other to stay
    within its cache. The arguments are those of :func:`grid_sample_attention`.
    """
    heads, levels, points = weights.shape[2:]
    grid = sample_grid(shapes, heads, points, value.device)
    step = QUERIES if value.is_cpu and not torch.is_grad_enabled() else max(locations.shape[1], 1)
    outputs = []
    for tokens, location, weight in zip(value, locations, weights):
        table = bordered_levels(tokens.flatten(1), shapes).view(-1, tokens.shape[-1])
        for spots, shares in zip(location.flatten(1, 3).split(step), weight.flatten(1).split(step)):
            rows, row_weights = sampled_rows(spots, shares, grid, heads)
            size = (len(spots) * heads, 4 * levels * points)
            outputs.append(WeightedRows.apply(table, rows.view(size), row_weights.view(size).to(value.dtype)))
    return torch.cat(outputs).view(len(value), -1, heads * value.shape[-1])


def bordered_levels(tokens: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
    """Pads the map of each level with zeros, so that samples outside of it need no special case.

    Args:
        tokens: Tokens (S, C) of all levels, concatenated.
        shapes: (height, width) of each level; the areas sum to S.

    Returns:
        Rows (R, C) of the maps (height + 3, width + 2), concatenated, and one more row of zeros.
    """
    starts = bordered_starts(shapes)
    bordered = tokens.new_zeros(starts[-1] + 1, tokens.shape[1])
    for (height, width), start, level in zip(shapes, starts, tokens.split([h * w for h, w in shapes])):
        rows = bordered[start : start + (height + 2) * (width + 2)].view(height + 2, width + 2, -1)
        rows[1:-1, 1:-1] = level.view(height, width, -1)
    return bordered


def bordered_starts(shapes: Sequence[tuple[int, int]]) -> list[int]:
    """First row of each level in :func:`bordered_levels`, and the number of rows of all levels.

    Two lines of zeros follow each map, because a sample in the first of them also reads the line below.
    """
    return [0, *accumulate((height + 3) * (width + 2) for height, width in shapes)]


class SampleGrid(NamedTuple):
    """Level geometry of the heads * levels * points samples of a query.

    Attributes:
        width: Width (heads * levels * points,) float32 of each sample's level.
        height: Height (heads * levels * points,) float32 of each sample's level.
        stride: Number of table rows (heads * levels * points,) float32 between two lines of the level.
        first: Table row (heads * levels * points,) float32 of the level's first pixel.
    """

    width: Tensor
    height: Tensor
    stride: Tensor
    first: Tensor


def sample_grid(shapes: Sequence[tuple[int, int]], heads: int, points: int, device: torch.device) -> SampleGrid:
    """Level geometry of all samples of a query.

    Row ``row * heads + head`` of the table is one head of a row of :func:`bordered_levels`.

    Args:
        shapes: (height, width) of each level.
        heads: Number of attention heads.
        points: Number of samples per head and level.
        device: Device of the result.

    Raises:
        ValueError: The table has 2**24 rows or more, so float32 cannot represent the row indices exactly.
    """
    starts = bordered_starts(shapes)
    if (starts[-1] + 1) * heads >= 1 << 24:
        raise ValueError(
            f'deformable attention supports fewer than 2**24 rows, got {starts[-1] + 1} tokens with the borders of '
            f'their maps and {heads} heads; use smaller frames'
        )
    levels = torch.tensor(
        [(w, h, (w + 2) * heads, (start + w + 3) * heads) for (h, w), start in zip(shapes, starts)],
        dtype=torch.float32,
        device=device,
    )
    width, height, stride, first = levels.repeat_interleave(points, 0).repeat(heads, 1).T.contiguous()
    return SampleGrid(
        width, height, stride, first + torch.arange(heads, device=device).repeat_interleave(len(shapes) * points)
    )


def sampled_rows(spots: Tensor, weights: Tensor, grid: SampleGrid, heads: int) -> tuple[Tensor, Tensor]:
    """Table rows and weights of the four neighbours of every sample.

    Positions are clamped to at most one pixel outside of the map, where the zeros of the border are read.

    Args:
        spots: Normalised (x, y) locations (N, S, 2) of the S = heads * levels * points samples of each query.
        weights: Attention weights (N, S).
        grid: Level geometry of the samples.
        heads: Number of attention heads.

    Returns:
        Table rows, int32, and their weights (bilinear times attention), both (N, heads, 4, levels * points).
    """
    exact_dtype, before = torch.promote_types(spots.dtype, torch.float32), torch.full_like(grid.width, -1)
    x, y = (
        torch.clamp(spots[..., k].to(exact_dtype) * size - 0.5, before, size)
        for k, size in enumerate((grid.width, grid.height))
    )
    left, top = x.detach().floor(), y.detach().floor()
    row = torch.add(top * grid.stride, left, alpha=heads).add_(grid.first)
    row = row.nan_to_num_(0).int()  # a location that is NaN gives NaN, by its weights
    stride = grid.stride.int()
    bottom_weight = (y - top) * weights
    top_weight = weights - bottom_weight
    bottom_right, top_right = bottom_weight * (x - left), top_weight * (x - left)

    def together(*corners: Tensor) -> Tensor:
        return torch.cat([corner.unflatten(-1, (heads, 1, -1)) for corner in corners], 2)

    rows = together(row, row + heads, row + stride, row + (stride + heads))
    return rows, together(top_weight - top_right, top_right, bottom_weight - bottom_right, bottom_right)


class WeightedRows(torch.autograd.Function):
    """Weighted sums of table rows.

    The backward pass gathers, whereas the one of ``F.embedding_bag`` scatters.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, share: Tensor) -> Tensor:
        """Sums of the rows (N, S) int32 of a table (R, d), weighted by ``share`` (N, S) -> (N, d)."""
        ctx.save_for_backward(table, rows, share)
        return F.embedding_bag(rows, table, mode='sum', per_sample_weights=share)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
        """Gradients of the table and the weights from the output gradient (N, d)."""
        table, rows, share = ctx.saved_tensors
        grad, (bags, samples), flat = grad.contiguous(), rows.shape, rows.flatten()
        table_grad = share_grad = None
        if ctx.needs_input_grad[0]:  # the gradient of a row sums those of all outputs that read it
            order = flat.argsort()
            counts = torch.bincount(flat, minlength=len(table))
            table_grad = F.embedding_bag(
                order.div(samples, rounding_mode='floor'),
                grad,
                counts.cumsum(0) - counts,
                mode='sum',
                per_sample_weights=share.flatten().index_select(0, order),
            )
        if ctx.needs_input_grad[2]:
            starts = torch.arange(0, bags * samples, samples, dtype=rows.dtype, device=rows.device)
            owner = torch.arange(bags, dtype=rows.dtype, device=rows.device).repeat_interleave(samples)
            share_grad = torch.ops.aten._embedding_bag_per_sample_weights_backward(grad, table, flat, starts, owner, 0)
        return table_grad, None, None if share_grad is None else share_grad.view_as(share)


def compiled_attention(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """CUDA operator of mmcv, run in float32 because it does not support half precision.

    The operator requires a batch size divisible by its step size, so the step size is set to the batch size. The
    arguments are those of :func:`grid_sample_attention`.
    """
    from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

    sizes = torch.as_tensor(shapes, dtype=torch.long, device=value.device)
    starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
    output = MultiScaleDeformableAttnFunction.apply(
        value.float(), sizes, starts, locations.float(), weights.float(), len(value)
    )
    return output.to(value.dtype)
