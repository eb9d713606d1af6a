"""Triton kernels of deformable attention for GPUs without mmcv's compiled operator; importing this requires Triton."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

QUERIES = 32  # queries per program


@triton.jit
def sample_corner(values, base, row, column, height, width, heads: tl.constexpr, size: tl.constexpr, channel, live):
    """Loads one corner of the samples of a block.

    Returns:
        Values (BLOCK, WIDTH) float32, zero outside the map; their offsets; and the mask of the loaded elements.
    """
    inside = live & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    place = base + (row * width + column)[:, None] * (heads * size) + channel[None]
    mask = inside[:, None] & (channel[None] < size)
    return tl.load(values + place, mask=mask, other=0.0).to(tl.float32), place, mask


@triton.jit
def sample_corners(values, spots, at, base, height, width, heads: tl.constexpr, size: tl.constexpr, channel, live):
    """Loads the four corners around the samples ``at``.

    Returns:
        Values, offsets and masks of the corners, each from upper left to lower right, then the fractional x and y of
        the samples.
    """
    x = tl.load(spots + 2 * at, mask=live, other=0.0) * width - 0.5
    y = tl.load(spots + 2 * at + 1, mask=live, other=0.0) * height - 0.5
    left, top = tl.floor(x), tl.floor(y)
    column, row = left.to(tl.int32), top.to(tl.int32)
    v00, p00, m00 = sample_corner(values, base, row, column, height, width, heads, size, channel, live)
    v01, p01, m01 = sample_corner(values, base, row, column + 1, height, width, heads, size, channel, live)
    v10, p10, m10 = sample_corner(values, base, row + 1, column, height, width, heads, size, channel, live)
    v11, p11, m11 = sample_corner(values, base, row + 1, column + 1, height, width, heads, size, channel, live)
    return v00, v01, v10, v11, p00, p01, p10, p11, m00, m01, m10, m11, (x - left)[:, None], (y - top)[:, None]


@triton.jit
def forward_kernel(values, levels, spots, weights, out, tokens, queries, sizes: tl.constexpr):
    """Forward pass of one head for a block of queries of one batch entry.

    ``sizes`` is the result of :func:`constants`.
    """
    heads: tl.constexpr = sizes[0]
    size: tl.constexpr = sizes[1]
    num_levels: tl.constexpr = sizes[2]
    points: tl.constexpr = sizes[3]
    block: tl.constexpr = sizes[4]
    padded: tl.constexpr = sizes[5]
    batch, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    query = tl.program_id(0) * block + tl.arange(0, block)
    channel, live = tl.arange(0, padded), query < queries
    sample = ((batch * queries + query) * heads + head) * (num_levels * points)
    total = tl.zeros((block, padded), dtype=tl.float32)
    for level in range(num_levels):
        height, width = tl.load(levels + 3 * level), tl.load(levels + 3 * level + 1)
        base = (batch * tokens + tl.load(levels + 3 * level + 2)) * (heads * size) + head * size
        for point in range(points):
            at = sample + level * points + point
            v00, v01, v10, v11, _, _, _, _, _, _, _, _, part_x, part_y = sample_corners(
                values, spots, at, base, height, width, heads, size, channel, live
            )
            above, below = v00 + part_x * (v01 - v00), v10 + part_x * (v11 - v10)
            total += tl.load(weights + at, mask=live, other=0.0)[:, None] * (above + part_y * (below - above))
    place = ((batch * queries + query) * heads + head)[:, None] * size + channel[None]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=live[:, None] & (channel[None] < size))


@triton.jit
def backward_kernel(
    values, levels, spots, weights, grad, to_values, to_spots, to_weights, tokens, queries, sizes: tl.constexpr
):
    """Gradients of :func:`forward_kernel`; those of the values are accumulated in float32."""
    heads: tl.constexpr = sizes[0]
    size: tl.constexpr = sizes[1]
    num_levels: tl.constexpr = sizes[2]
    points: tl.constexpr = sizes[3]
    block: tl.constexpr = sizes[4]
    padded: tl.constexpr = sizes[5]
    batch, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    query = tl.program_id(0) * block + tl.arange(0, block)
    channel, live = tl.arange(0, padded), query < queries
    sample = ((batch * queries + query) * heads + head) * (num_levels * points)
    place = ((batch * queries + query) * heads + head)[:, None] * size + channel[None]
    seed = tl.load(grad + place, mask=live[:, None] & (channel[None] < size), other=0.0).to(tl.float32)
    for level in range(num_levels):
        height, width = tl.load(levels + 3 * level), tl.load(levels + 3 * level + 1)
        base = (batch * tokens + tl.load(levels + 3 * level + 2)) * (heads * size) + head * size
        for point in range(points):
            at = sample + level * points + point
            v00, v01, v10, v11, p00, p01, p10, p11, m00, m01, m10, m11, part_x, part_y = sample_corners(
                values, spots, at, base, height, width, heads, size, channel, live
            )
            share = tl.load(weights + at, mask=live, other=0.0)
            above, below = v00 + part_x * (v01 - v00), v10 + part_x * (v11 - v10)
            along_x = (v01 - v00) + part_y * ((v11 - v10) - (v01 - v00))
            tl.store(to_weights + at, tl.sum(seed * (above + part_y * (below - above)), 1), mask=live)
            tl.store(to_spots + 2 * at, share * width * tl.sum(seed * along_x, 1), mask=live)
            tl.store(to_spots + 2 * at + 1, share * height * tl.sum(seed * (below - above), 1), mask=live)
            part = share[:, None] * seed
            tl.atomic_add(to_values + p00, part * (1 - part_x) * (1 - part_y), mask=m00)
            tl.atomic_add(to_values + p01, part * part_x * (1 - part_y), mask=m01)
            tl.atomic_add(to_values + p10, part * (1 - part_x) * part_y, mask=m10)
            tl.atomic_add(to_values + p11, part * part_x * part_y, mask=m11)


class TritonAttention(torch.autograd.Function):
    """Deformable attention by Triton kernels.

    Values may have any floating-point type; locations and weights are float32. Sums are accumulated in float32.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, levels: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        """Attended values (B, N, H * d).

        The shapes are: value (B, S, H, d); levels (L, 3) int32 with height, width and first token; locations (B, N, H,
        L, P, 2); weights (B, N, H, L, P).
        """
        ctx.save_for_backward(value, levels, locations, weights)
        out = value.new_empty(*locations.shape[:3], value.shape[-1])
        with on_device_of(value):
            forward_kernel[grid(locations)](
                value, levels, locations, weights, out, value.shape[1], locations.shape[1], constants(value, locations)
            )
        return out.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of value, locations and weights from the output gradient (B, N, H * d)."""
        value, levels, locations, weights = ctx.saved_tensors
        to_value = torch.zeros_like(value, dtype=torch.float32)
        to_locations, to_weights = torch.empty_like(locations), torch.empty_like(weights)
        with on_device_of(value):
            backward_kernel[grid(locations)](
                value,
                levels,
                locations,
                weights,
                grad.contiguous(),
                to_value,
                to_locations,
                to_weights,
                value.shape[1],
                locations.shape[1],
                constants(value, locations),
            )
        return to_value.to(value.dtype), None, to_locations, to_weights


def on_device_of(value: Tensor) -> AbstractContextManager:
    """Context that launches kernels on the device of ``value``; by default Triton uses the current device."""
    return torch.cuda.device(value.device) if value.is_cuda else nullcontext()


def grid(locations: Tensor) -> tuple[int, int]:
    """Launch grid: (blocks of queries, batch entries * heads)."""
    return triton.cdiv(locations.shape[1], QUERIES), locations.shape[0] * locations.shape[2]


def constants(value: Tensor, locations: Tensor) -> tuple[int, ...]:
    """Compile-time constants of a kernel.

    Returns:
        Number of heads, channels per head, levels, points, queries per program, and channels per head rounded up to a
        power of two.
    """
    heads, size = value.shape[2:]
    return (heads, size, *locations.shape[3:5], QUERIES, triton.next_power_of_2(size))


def triton_attention(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Deformable attention by Triton kernels; see ``grid_sample_attention``."""
    start, rows = 0, []
    for height, width in shapes:
        rows.append((height, width, start))
        start += height * width
    levels = torch.tensor(rows, dtype=torch.int32, device=value.device)
    return TritonAttention.apply(
        value.contiguous(), levels, locations.float().contiguous(), weights.float().contiguous()
    )
