"""Deformable convolutions, version 1 (offsets) and version 2 (offsets and weights of samples)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmdvis.models.functional.deform_attn import WeightedRows
from mmdvis.models.functional.point_sampling import neighbours

from .precision import wide

Pair = tuple[int, int]
ENTRIES = 1 << 21  # numbers of the columns that are computed at once


@dataclass(frozen=True)
class Geometry:
    """Sizes of a convolution, each (vertical, horizontal).

    Attributes:
        kernel: Size of the kernel.
        stride: Distance of the outputs in pixels.
        padding: Number of zeros around the input.
        dilation: Distance of the samples of the kernel in pixels.
        groups: Number of groups of channels that are convolved separately.
        deform_groups: Number of groups of channels with offsets of their own.
    """

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    deform_groups: int


def tap_positions(geometry: Geometry, taps: range, size: Pair, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Positions y and x (B, G, k, N) in pixels that samples of the kernel read for each of the N outputs.

    Args:
        geometry: Sizes of the convolution.
        taps: Numbers of k samples of the kernel, row by row.
        size: (height, width) of the output.
        offset: Offsets (B, G * taps * 2, height, width); the y of a sample comes before its x.
    """
    number = geometry.kernel[0] * geometry.kernel[1]
    moved = offset.view(len(offset), geometry.deform_groups, number, 2, -1)[:, :, taps.start : taps.stop]
    kind: dict[str, Any] = dict(device=offset.device, dtype=offset.dtype)
    tap = torch.arange(taps.start, taps.stop, device=offset.device)
    row = (tap.div(geometry.kernel[1], rounding_mode='floor') * geometry.dilation[0]).to(offset.dtype)
    column = (tap % geometry.kernel[1] * geometry.dilation[1]).to(offset.dtype)
    y = torch.arange(size[0], **kind) * geometry.stride[0] - geometry.padding[0]
    x = torch.arange(size[1], **kind) * geometry.stride[1] - geometry.padding[1]
    y = (row[:, None, None] + y[:, None]).expand(-1, -1, size[1]).flatten(1)
    x = (column[:, None, None] + x).expand(-1, size[0], -1).flatten(1)
    return y + moved[..., 0, :], x + moved[..., 1, :]


def tap_columns(features: Tensor, y: Tensor, x: Tensor, shares: Tensor | None) -> Tensor:
    """Bilinear samples (B * N, k, C) of features (B, C, H, W); pixels outside them are zero.

    Args:
        features: The features; their channels are divided into G groups.
        y: Positions (B, G, k, N) in pixels of each group.
        x: Likewise.
        shares: Weights (B, G, k, N) of the samples; None for 1.
    """
    (batch, groups, number, outputs), (height, width) = y.shape, features.shape[2:]
    (top, top_share), (bottom, bottom_share) = neighbours(y, height)
    (left, left_share), (right, right_share) = neighbours(x, width)
    if shares is not None:
        top_share, bottom_share = top_share * shares, bottom_share * shares
    first = torch.arange(batch * groups, device=y.device).view(batch, groups, 1, 1, 1) * (height * width)
    rows = torch.stack([top * width + left, top * width + right, bottom * width + left, bottom * width + right], -1)
    weights = torch.stack(
        [top_share * left_share, top_share * right_share, bottom_share * left_share, bottom_share * right_share], -1
    )
    table = (
        features.view(batch, groups, -1, height * width).transpose(2, 3).reshape(batch * groups * height * width, -1)
    )
    sums = WeightedRows.apply(table, (rows.detach().long() + first).view(-1, 4).int(), weights.view(-1, 4))
    return sums.view(batch, groups, number, outputs, -1).permute(0, 3, 2, 1, 4).reshape(batch * outputs, number, -1)


def tap_output(columns: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Contribution (M, O) of samples of the kernel from their columns (M, k, C) and weights (O, C / groups, k)."""
    if groups == 1:
        return columns.flatten(1) @ weight.transpose(1, 2).flatten(1).T
    parts = zip(weight.chunk(groups), columns.chunk(groups, 2))
    return torch.cat([part.flatten(1) @ one.transpose(1, 2).flatten(1).T for one, part in parts], 1)


@dataclass(frozen=True)
class Step:
    """What is computed at once.

    Attributes:
        images: Images of the batch.
        taps: Samples of the kernel.
    """

    images: slice
    taps: range


def steps(batch: int, channels: int, outputs: int, taps: int) -> Iterator[Step]:
    """Divides a convolution so that the columns of a step have at most ``ENTRIES`` numbers, or are of one sample."""
    size = channels * outputs
    images = max(1, min(batch, ENTRIES // size))
    number = max(1, min(taps, ENTRIES // (size * images)))
    for b in range(0, batch, images):
        for tap in range(0, taps, number):
            yield Step(slice(b, b + images), range(tap, min(tap + number, taps)))


def kernel_shares(mask: Tensor | None, step: Step, geometry: Geometry) -> Tensor | None:
    """Weights (B, G, k, N) of the samples of a step; None without a mask (B, G * taps, h, w)."""
    if mask is None:
        return None
    taps = geometry.kernel[0] * geometry.kernel[1]
    return wide(mask[step.images]).flatten(2).unflatten(1, (-1, taps))[:, :, step.taps.start : step.taps.stop]


def convolve(
    features: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, output: Tensor, geometry: Geometry
) -> None:
    """Fills ``output`` (B, O, h, w) step by step."""
    size = (output.shape[2], output.shape[3])
    kernel = wide(weight).flatten(2)
    total = kernel.new_zeros(len(features), size[0] * size[1], len(kernel))
    for step in steps(len(features), features.shape[1], size[0] * size[1], kernel.shape[2]):
        y, x = tap_positions(geometry, step.taps, size, wide(offset[step.images]))
        columns = tap_columns(wide(features[step.images]), y, x, kernel_shares(mask, step, geometry))
        part = tap_output(columns, kernel[:, :, step.taps.start : step.taps.stop], geometry.groups)
        total[step.images] += part.view(-1, size[0] * size[1], len(kernel))
    output.copy_(total.transpose(1, 2).view_as(output))


@dataclass
class Gradients:
    """Where gradients are added; None for those that are not asked for."""

    features: Tensor | None = None
    weight: Tensor | None = None
    offset: Tensor | None = None
    mask: Tensor | None = None


def accumulate(
    features: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    grad_output: Tensor,
    geometry: Geometry,
    grads: Gradients,
    scale: float = 1.0,
) -> None:
    """Adds the gradients step by step, each recomputed; ``scale`` multiplies those of weights."""
    size, kernel = (grad_output.shape[2], grad_output.shape[3]), wide(weight).flatten(2)
    for step in steps(len(features), features.shape[1], size[0] * size[1], kernel.shape[2]):
        taps = slice(step.taps.start, step.taps.stop)
        given = wide(grad_output[step.images]).flatten(2).transpose(1, 2).flatten(0, 1)
        leaves = dict(features=wide(features[step.images]), weight=kernel[:, :, taps], offset=wide(offset[step.images]))
        shares = kernel_shares(mask, step, geometry)
        if shares is not None:
            leaves['mask'] = shares
        wanted = [name for name in leaves if getattr(grads, name) is not None]
        with torch.enable_grad():
            leaves = {name: value.detach().requires_grad_(name in wanted) for name, value in leaves.items()}
            y, x = tap_positions(geometry, step.taps, size, leaves['offset'])
            columns = tap_columns(leaves['features'], y, x, leaves.get('mask'))
            result = tap_output(columns, leaves['weight'], geometry.groups)
            found = dict(zip(wanted, torch.autograd.grad(result, [leaves[name] for name in wanted], given)))
        for name, grad in found.items():
            target = getattr(grads, name)
            if name == 'weight':
                target.flatten(2)[:, :, taps].add_((scale * grad).to(target.dtype))
            elif name == 'mask':
                number = geometry.kernel[0] * geometry.kernel[1]
                view = target[step.images].flatten(2).unflatten(1, (-1, number))
                view[:, :, taps].add_(grad.to(target.dtype))
            else:
                target[step.images].add_(grad.to(target.dtype))


def geometry_v1(options: dict[str, Any]) -> Geometry:
    """Sizes from the names of version 1."""
    pairs = [(options[name + 'H'], options[name + 'W']) for name in ('k', 'd', 'pad', 'dilation')]
    return Geometry(pairs[0], pairs[1], pairs[2], pairs[3], options['group'], options['deformable_group'])


def geometry_v2(options: dict[str, Any]) -> Geometry:
    """Sizes from the names of version 2."""
    pairs = [(options[name + '_h'], options[name + '_w']) for name in ('kernel', 'stride', 'pad', 'dilation')]
    return Geometry(pairs[0], pairs[1], pairs[2], pairs[3], options['group'], options['deformable_group'])


def deform_conv_forward(
    features: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **options: Any
) -> None:
    """Fills ``output``; ``columns``, ``ones`` and ``im2col_step`` are not used."""
    convolve(features, weight, offset, None, output, geometry_v1(options))


def deform_conv_backward_input(
    features: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **options: Any,
) -> None:
    """Fills the gradients of the features and the offsets."""
    grads = Gradients(features=grad_input.zero_(), offset=grad_offset.zero_())
    accumulate(features, weight, offset, None, grad_output, geometry_v1(options), grads)


def deform_conv_backward_parameters(
    features: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float = 1.0,
    **options: Any,
) -> None:
    """Adds ``scale`` times the gradient of the weights."""
    grads = Gradients(weight=grad_weight)
    accumulate(features, grad_weight, offset, None, grad_output, geometry_v1(options), grads, scale)


def modulated_deform_conv_forward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool = False,
    **options: Any,
) -> None:
    """Fills ``output``; ``ones`` and ``columns`` are not used."""
    convolve(features, weight, offset, mask, output, geometry_v2(options))
    if with_bias:
        output += bias.view(1, -1, 1, 1).to(output.dtype)


def modulated_deform_conv_backward(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    *grads_and_given: Tensor,
    with_bias: bool = False,
    **options: Any,
) -> None:
    """Adds the gradients of features, weight, bias, offset and mask to tensors of zeros; that of the output is last."""
    grad_input, grad_weight, grad_bias, grad_offset, grad_mask, grad_output = grads_and_given
    grads = Gradients(grad_input, grad_weight, grad_offset, grad_mask)
    accumulate(features, weight, offset, mask, grad_output, geometry_v2(options), grads)
    if with_bias:
        grad_bias += grad_output.sum((0, 2, 3)).to(grad_bias.dtype)
