"""RoIAlign: average or maximum of bilinear samples in the bins of regions of interest."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mmdvis.models.functional.deform_attn import WeightedRows

from .precision import wide

MAXIMUM = 0  # pool mode; 1 is the average
ENTRIES = 1 << 20  # table rows that are looked up at once


@dataclass(frozen=True)
class Samples:
    """The samples of regions along one axis.

    Attributes:
        rows: Pixels (R, P, g, 2) int64 before and after each of the g samples of the P bins.
        shares: Their interpolation weights (R, P, g, 2); zero for samples outside the image.
        positions: Position (R, P, g) of each sample in pixels, also outside the image.
    """

    rows: Tensor
    shares: Tensor
    positions: Tensor


def axis_samples(start: Tensor, length: Tensor, bins: int, number: int, size: int) -> Samples:
    """Samples of the regions along one axis, ``number`` per bin.

    Args:
        start: First edge (R,) of each region in pixels.
        length: Length (R,) of each region.
        bins: Number of bins P.
        number: Samples per bin g.
        size: Image size on this axis.
    """
    steps = torch.arange(bins * number, device=start.device, dtype=start.dtype).view(bins, number)
    offsets = torch.arange(bins, device=start.device, dtype=start.dtype)[:, None] + ((steps % number + 0.5) / number)
    position = start[:, None, None] + (length / bins)[:, None, None] * offsets
    raw = position
    is_inside = (position >= -1) & (position <= size)
    position = position.clamp(min=0)
    before = position.floor().clamp(max=size - 1)
    position = torch.where(before >= size - 1, before, position)
    after = (before + 1).clamp(max=size - 1)
    fraction = position - before
    shares = torch.stack([1 - fraction, fraction], -1) * is_inside[..., None]
    return Samples(torch.stack([before, after], -1).long(), shares, raw)


@dataclass(frozen=True)
class Regions:
    """Regions that have the same number of samples per bin.

    Attributes:
        index: Their positions (R,) in the list of all regions.
        image: Image (R,) of each.
        vertical: Samples along y.
        horizontal: Samples along x.
    """

    index: Tensor
    image: Tensor
    vertical: Samples
    horizontal: Samples


def regions(
    rois: Tensor, size: tuple[int, int], bins: tuple[int, int], scale: float, ratio: int, aligned: bool
) -> Iterator[Regions]:
    """Yields the regions in groups of equal numbers of samples, of limited size.

    Args:
        rois: Image index and box (R, 5) as x1, y1, x2, y2.
        size: (height, width) of the feature map.
        bins: Number of bins (vertical, horizontal).
        scale: Feature pixels per box pixel.
        ratio: Samples per bin and axis; 0: one for each feature pixel.
        aligned: Whether pixel centres are at half integers; if not, regions are at least one pixel long.
    """
    boxes = wide(rois)[:, 1:] * scale - (0.5 if aligned else 0.0)
    lengths = boxes[:, 2:] - boxes[:, :2]
    if not aligned:
        lengths = lengths.clamp(min=1.0)
    numbers = torch.full_like(lengths, float(ratio))
    if ratio <= 0:
        numbers = (lengths / lengths.new_tensor(bins[::-1])).ceil().clamp(min=0)
    numbers = numbers.long()
    for columns, lines in numbers.unique(dim=0).tolist():
        if columns <= 0 or lines <= 0:
            continue  # no samples: the output stays 0
        index = ((numbers[:, 0] == columns) & (numbers[:, 1] == lines)).nonzero()[:, 0]
        entries = 4 * columns * lines * bins[0] * bins[1]
        for part in index.split(max(1, ENTRIES // entries)):
            yield Regions(
                part,
                rois[part, 0].long(),
                axis_samples(boxes[part, 1], lengths[part, 1], bins[0], lines, size[0]),
                axis_samples(boxes[part, 0], lengths[part, 0], bins[1], columns, size[1]),
            )


def sample_rows(group: Regions, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Pixel indices and bilinear weights of the samples, both (R, Py, Px, gy, gx, 4)."""
    y, x = group.vertical, group.horizontal
    number = (len(group.index), y.rows.shape[1], x.rows.shape[1], y.rows.shape[2], x.rows.shape[2], 4)
    rows = y.rows[:, :, None, :, None, :, None] * size[1] + x.rows[:, None, :, None, :, None, :]
    rows = rows + (group.image * size[0] * size[1]).view(-1, *[1] * 6)
    shares = y.shares[:, :, None, :, None, :, None] * x.shares[:, None, :, None, :, None, :]
    return rows.reshape(number), shares.reshape(number)


def average(table: Tensor, group: Regions, size: tuple[int, int]) -> Tensor:
    """Averages (R, C, Py, Px) of the samples in each bin, from a table (B * H * W, C) of pixels."""
    rows, shares = sample_rows(group, size)
    number, vertical, horizontal, lines, columns, _ = rows.shape
    flat = (number * vertical * horizontal, lines * columns * 4)
    sums = WeightedRows.apply(table, rows.reshape(flat).int(), shares.reshape(flat).to(table.dtype) / (lines * columns))
    return sums.view(number, vertical, horizontal, -1).permute(0, 3, 1, 2)


def maximum(table: Tensor, group: Regions, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Largest samples (R, C, Py, Px) of each bin, and their positions y and x in pixels; for one region at a time."""
    rows, shares = sample_rows(group, size)
    values = (table[rows] * shares[..., None].to(table.dtype)).sum(-2).flatten(3, 4)  # (R, Py, Px, gy * gx, C)
    best, index = values.max(3)
    columns = group.horizontal.positions.shape[2]
    y = group.vertical.positions[:, :, None, :, None].expand(*values.shape[:3], -1, columns).flatten(3, 4)
    x = group.horizontal.positions[:, None, :, None, :].expand(*values.shape[:3], y.shape[3] // columns, -1)
    x = x.flatten(3, 4)
    return tuple(part.permute(0, 3, 1, 2) for part in (best, y.gather(3, index), x.gather(3, index)))  # type: ignore


def pixel_table(features: Tensor) -> Tensor:
    """The pixels (B * H * W, C) of feature maps (B, C, H, W)."""
    return features.permute(0, 2, 3, 1).reshape(-1, features.shape[1])


def roi_align_forward(
    features: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Fills ``output`` (R, C, Py, Px), and for the maximum the positions of the largest samples.

    Args:
        features: Feature maps (B, C, H, W).
        rois: Image index and box (R, 5) as x1, y1, x2, y2.
        output: Filled.
        argmax_y: Filled for the maximum; -1 where there is no sample. Empty for the average.
        argmax_x: Likewise.
        aligned_height: Number of bins along y.
        aligned_width: Number of bins along x.
        spatial_scale: Feature pixels per box pixel.
        sampling_ratio: Samples per bin and axis; 0: one for each feature pixel.
        pool_mode: 0: maximum; 1: average.
        aligned: See :func:`regions`.
    """
    size, bins = (features.shape[2], features.shape[3]), (aligned_height, aligned_width)
    table = pixel_table(wide(features))
    output.zero_()
    if pool_mode == MAXIMUM:
        argmax_y.fill_(-1)
        argmax_x.fill_(-1)
    for group in regions(rois, size, bins, spatial_scale, sampling_ratio, aligned):
        if pool_mode != MAXIMUM:
            output[group.index] = average(table, group, size).to(output.dtype)
            continue
        best, y, x = maximum(table, group, size)
        output[group.index] = best.to(output.dtype)
        argmax_y[group.index], argmax_x[group.index] = y.to(argmax_y.dtype), x.to(argmax_x.dtype)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Adds the gradient of the features (B, C, H, W) to ``grad_input``; see :func:`roi_align_forward`."""
    channels, height, width = grad_input.shape[1:]
    size, bins, grad = (height, width), (aligned_height, aligned_width), wide(grad_output)
    total = grad.new_zeros(len(grad_input) * height * width, channels)
    if pool_mode == MAXIMUM:
        add_at_positions(total, grad, rois[:, 0].long(), wide(argmax_y), wide(argmax_x), size)
    else:
        for group in regions(rois, size, bins, spatial_scale, sampling_ratio, aligned):
            rows, shares = sample_rows(group, size)
            number, vertical, horizontal, lines, columns, _ = rows.shape
            flat = (number * vertical * horizontal, lines * columns * 4)
            flat_shares = shares.reshape(flat).to(grad.dtype) / (lines * columns)
            given = grad[group.index].permute(0, 2, 3, 1).reshape(-1, channels)
            total += transposed_sums(given, rows.reshape(flat), flat_shares, len(total))
    grad_input += total.view(len(grad_input), height, width, channels).permute(0, 3, 1, 2).to(grad_input.dtype)


def transposed_sums(grad: Tensor, rows: Tensor, shares: Tensor, number: int) -> Tensor:
    """For each of ``number`` rows, the sum of the gradients (N, C) of the sums that read it, times their shares."""
    with torch.enable_grad():
        table = grad.new_zeros(number, grad.shape[1], requires_grad=True)
        sums = WeightedRows.apply(table, rows.int(), shares)
        (total,) = torch.autograd.grad(sums, table, grad)
    return total


def add_at_positions(total: Tensor, grad: Tensor, image: Tensor, y: Tensor, x: Tensor, size: tuple[int, int]) -> None:
    """Adds gradients (R, C, Py, Px) to the four pixels around one position per channel and bin."""
    is_known = (y >= -1) & (y <= size[0]) & (x >= -1) & (x <= size[1]) & ((y != -1) | (x != -1))
    channel = torch.arange(grad.shape[1], device=grad.device).view(1, -1, 1, 1).expand_as(y)
    first = (image * size[0] * size[1]).view(-1, 1, 1, 1)
    y, x = y.clamp(0, size[0] - 1), x.clamp(0, size[1] - 1)
    top, left = y.floor(), x.floor()
    for below in (0, 1):
        for right in (0, 1):
            share_y = (y - top) if below else 1 - (y - top)
            share_x = (x - left) if right else 1 - (x - left)
            row = (top + below).clamp(max=size[0] - 1) * size[1] + (left + right).clamp(max=size[1] - 1)
            value = grad * share_y * share_x * is_known
            total.index_put_(((row.long() + first), channel), value, accumulate=True)
