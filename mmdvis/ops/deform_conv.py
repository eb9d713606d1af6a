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


def tap_positions(geometry: Geometry, tap: int, size: Pair, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Positions y and x (G, N) in pixels that a sample of the kernel reads for each of the N outputs.

    Args:
        geometry: Sizes of the convolution.
        tap: Number of the sample in the kernel, row by row.
        size: (height, width) of the output.
        offset: Offsets (G * taps * 2, height, width) of an image; the y of a sample comes before its x.
    """
    taps = geometry.kernel[0] * geometry.kernel[1]
    moved = offset.view(geometry.deform_groups, taps, 2, -1)[:, tap]
    y = torch.arange(size[0], device=offset.device, dtype=offset.dtype) * geometry.stride[0] - geometry.padding[0]
    x = torch.arange(size[1], device=offset.device, dtype=offset.dtype) * geometry.stride[1] - geometry.padding[1]
    row, column = divmod(tap, geometry.kernel[1])
    y = (y + row * geometry.dilation[0])[:, None].expand(size).reshape(1, -1)
    x = (x + column * geometry.dilation[1])[None].expand(size).reshape(1, -1)
    return y + moved[:, 0], x + moved[:, 1]


def tap_columns(image: Tensor, y: Tensor, x: Tensor, shares: Tensor | None) -> Tensor:
    """Bilinear samples (N, C) of an image (C, H, W); pixels outside it are zero.

    Args:
        image: The image; its channels are divided into G groups.
        y: Position (G, N) in pixels of each group.
        x: Likewise.
        shares: Weights (G, N) of the samples; None for 1.
    """
    groups, (height, width) = len(y), image.shape[1:]
    (top, top_share), (bottom, bottom_share) = neighbours(y, height)
    (left, left_share), (right, right_share) = neighbours(x, width)
    if shares is not None:
        top_share, bottom_share = top_share * shares, bottom_share * shares
    rows = torch.stack([top * width + left, top * width + right, bottom * width + left, bottom * width + right], -1)
    weights = torch.stack(
        [top_share * left_share, top_share * right_share, bottom_share * left_share, bottom_share * right_share], -1
    )
    tables = image.view(groups, -1, height * width)
    parts = [
        WeightedRows.apply(table.T.contiguous(), row.int(), weight) for table, row, weight in zip(tables, rows, weights)
    ]
    return torch.cat(parts, 1)


def tap_output(columns: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Contribution (O, N) of a sample of the kernel from its columns (N, C) and weights (O, C / groups)."""
    if groups == 1:
        return weight @ columns.T
    parts = zip(weight.chunk(groups), columns.chunk(groups, 1))
    return torch.cat([one @ other.T for one, other in parts])


def kernel_taps(weight: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yields number and weights (O, C / groups) of each sample of a kernel (O, C / groups, h, w)."""
    flat = weight.flatten(2)
    return ((tap, flat[:, :, tap]) for tap in range(flat.shape[2]))


def convolve(
    features: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, output: Tensor, geometry: Geometry
) -> None:
    """Fills ``output`` (B, O, h, w). The columns of one sample of the kernel are in memory at a time."""
    size = (output.shape[2], output.shape[3])
    kernel = wide(weight)
    for b, image in enumerate(wide(features)):
        total = kernel.new_zeros(len(weight), size[0] * size[1])
        for tap, tap_weight in kernel_taps(kernel):
            y, x = tap_positions(geometry, tap, size, wide(offset[b]))
            columns = tap_columns(image, y, x, tap_shares(mask, b, tap, geometry))
            total += tap_output(columns, tap_weight, geometry.groups)
        output[b] = total.view(-1, *size).to(output.dtype)


def tap_shares(mask: Tensor | None, image: int, tap: int, geometry: Geometry) -> Tensor | None:
    """Weights (G, N) of a sample of the kernel in an image; None without a mask (B, G * taps, h, w)."""
    if mask is None:
        return None
    return wide(mask[image]).view(geometry.deform_groups, geometry.kernel[0] * geometry.kernel[1], -1)[:, tap]


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
    """Adds the gradients, recomputed for one sample of the kernel at a time; ``scale`` multiplies those of weights."""
    size, kernel = (grad_output.shape[2], grad_output.shape[3]), wide(weight)
    taps = geometry.kernel[0] * geometry.kernel[1]
    for b in range(len(features)):
        given = wide(grad_output[b]).reshape(len(weight), -1)
        for tap, tap_weight in kernel_taps(kernel):
            with torch.enable_grad():
                leaves: dict[str, Tensor] = dict(features=wide(features[b]), weight=tap_weight, offset=wide(offset[b]))
                shares = tap_shares(mask, b, tap, geometry)
                if shares is not None:
                    leaves['mask'] = shares
                leaves = {name: value.detach().requires_grad_() for name, value in leaves.items()}
                y, x = tap_positions(geometry, tap, size, leaves['offset'])
                columns = tap_columns(leaves['features'], y, x, leaves.get('mask'))
                result = tap_output(columns, leaves['weight'], geometry.groups)
                wanted = {name: leaf for name, leaf in leaves.items() if getattr(grads, name) is not None}
                found = dict(zip(wanted, torch.autograd.grad(result, list(wanted.values()), given)))
            if 'features' in found:
                grads.features[b] += found['features'].to(grads.features.dtype)  # type: ignore[index, union-attr]
            if 'offset' in found:
                grads.offset[b] += found['offset'].to(grads.offset.dtype)  # type: ignore[index, union-attr]
            if 'weight' in found:
                flat = grads.weight.flatten(2)  # type: ignore[union-attr]
                flat[:, :, tap] += (scale * found['weight']).to(flat.dtype)
            if 'mask' in found:
                view = grads.mask[b].view(geometry.deform_groups, taps, -1)  # type: ignore[index]
                view[:, tap] += found['mask'].to(view.dtype)


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
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool = False,
    **options: Any,
) -> None:
    """Adds the five gradients to tensors of zeros."""
    grads = Gradients(grad_input, grad_weight, grad_offset, grad_mask)
    accumulate(features, weight, offset, mask, grad_output, geometry_v2(options), grads)
    if with_bias:
        grad_bias += grad_output.sum((0, 2, 3)).to(grad_bias.dtype)
