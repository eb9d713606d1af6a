"""Deformable convolutions against loops over outputs, channels and samples in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack, deform_conv2d, modulated_deform_conv2d

from mmdvis.mmcv_ops_fallback import has_compiled_ops
from mmdvis.ops import deform_conv as module

pytestmark = pytest.mark.skipif(has_compiled_ops(), reason='mmcv has compiled operators')


def sample(plane, y, x):
    """Bilinear sample of a plane (H, W), zero outside it."""
    height, width = plane.shape
    if not (-1 < y < height and -1 < x < width):
        return plane.new_zeros(())
    top, left = math.floor(y), math.floor(x)
    total = plane.new_zeros(())
    for row, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < height and 0 <= column < width:
                total = total + plane[row, column] * share_y * share_x
    return total


def scalar_deform_conv(features, offset, weight, stride, padding, dilation, groups, deform_groups, mask=None):
    batch, channels, height, width = features.shape
    out_channels, _, kernel_h, kernel_w = weight.shape
    out_h = (height + 2 * padding - dilation * (kernel_h - 1) - 1) // stride + 1
    out_w = (width + 2 * padding - dilation * (kernel_w - 1) - 1) // stride + 1
    output = features.new_zeros(batch, out_channels, out_h, out_w)
    taps = kernel_h * kernel_w
    for b in range(batch):
        for i in range(out_h):
            for j in range(out_w):
                for tap in range(taps):
                    row, column = divmod(tap, kernel_w)
                    for c in range(channels):
                        group = c // (channels // deform_groups)
                        dy, dx = (offset[b, (group * taps + tap) * 2 + k, i, j] for k in (0, 1))
                        y = i * stride - padding + row * dilation + float(dy)
                        x = j * stride - padding + column * dilation + float(dx)
                        value = sample(features[b, c], y, x)
                        if mask is not None:
                            value = value * mask[b, group * taps + tap, i, j]
                        part = c // (channels // groups)
                        size = out_channels // groups
                        output[b, part * size : (part + 1) * size, i, j] += (
                            weight[part * size : (part + 1) * size, c % (channels // groups), row, column] * value
                        )
    return output


CASES = [  # stride, padding, dilation, groups, deform groups, kernel
    (1, 1, 1, 1, 1, 3),
    (2, 1, 1, 2, 1, 3),
    (1, 2, 2, 1, 2, 3),
    (2, 0, 1, 2, 2, 2),
    (1, 0, 1, 4, 4, 1),
]


def inputs(case, seed=0, size=(5, 6), batch=2):
    stride, padding, dilation, groups, deform_groups, kernel = case
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=g)

    out = [(n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for n in size]
    features, weight = draw(batch, 4, *size), draw(8, 4 // groups, kernel, kernel)
    offset, mask = 1.5 * draw(batch, 2 * deform_groups * kernel**2, *out), draw(batch, deform_groups * kernel**2, *out)
    return features, offset, weight, mask.sigmoid(), draw(8)


@pytest.mark.parametrize('case', CASES)
def test_version_1_against_loops(case):
    features, offset, weight, _, _ = inputs(case)
    found = deform_conv2d(features, offset, weight, *case[:5])
    assert (found - scalar_deform_conv(features, offset, weight, *case[:5])).abs().max() <= 1e-12
    single = deform_conv2d(features.float(), offset.float(), weight.float(), *case[:5])
    torch.testing.assert_close(single, found.float(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('case', CASES)
def test_version_2_against_loops(case):
    features, offset, weight, mask, bias = inputs(case, 1)
    found = modulated_deform_conv2d(features, offset, mask, weight, bias, *case[:5])
    expected = scalar_deform_conv(features, offset, weight, *case[:5], mask) + bias.view(1, -1, 1, 1)
    assert (found - expected).abs().max() <= 1e-12
    without = modulated_deform_conv2d(features, offset, mask, weight, None, *case[:5])
    assert (without - expected + bias.view(1, -1, 1, 1)).abs().max() <= 1e-12


@pytest.mark.parametrize('case', CASES[1:4])
@pytest.mark.parametrize('version', [1, 2])
def test_gradients(case, version):
    tensors = [tensor.requires_grad_() for tensor in inputs(case, 2, (4, 3), 1)]
    features, offset, weight, mask, bias = tensors
    if version == 1:
        assert torch.autograd.gradcheck(
            lambda x, o, w: deform_conv2d(x, o, w, *case[:5]), (features, offset, weight), atol=1e-6
        )
    else:
        assert torch.autograd.gradcheck(
            lambda x, o, m, w, b: modulated_deform_conv2d(x, o, m, w, b, *case[:5]),
            (features, offset, mask, weight, bias),
            atol=1e-6,
        )


def test_without_offsets_it_is_a_convolution():
    features, _, weight, _, bias = inputs(CASES[0])
    offset = features.new_zeros(2, 18, 5, 6)
    expected = F.conv2d(features, weight, padding=1)
    torch.testing.assert_close(deform_conv2d(features, offset, weight, 1, 1), expected)
    mask = features.new_ones(2, 9, 5, 6)
    found = modulated_deform_conv2d(features, offset, mask, weight, bias, 1, 1)
    torch.testing.assert_close(found, expected + bias.view(1, -1, 1, 1))


@pytest.mark.parametrize('layer', [DeformConv2dPack, ModulatedDeformConv2dPack])
def test_the_layers_of_mmcv_learn(layer):
    torch.manual_seed(0)
    convolution = layer(4, 6, 3, padding=1)
    output = convolution(torch.randn(2, 4, 7, 8))
    output.square().sum().backward()
    assert output.shape == (2, 6, 7, 8)
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in convolution.parameters())


def test_half_precision_is_computed_in_float32():
    features, offset, weight, _, _ = (tensor.half() for tensor in inputs(CASES[0]))
    found = deform_conv2d(features, offset, weight, 1, 1)
    exact = deform_conv2d(features.float(), offset.float(), weight.float(), 1, 1)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, exact.half())


@pytest.mark.parametrize('entries, numbers', [(1, [1] * 18), (4 * 30 * 4, [2, 2, 2, 2, 1]), (1 << 20, [9])])
def test_columns_are_computed_in_steps(monkeypatch, entries, numbers):
    """The columns of a sample of the kernel are (N, C); nine of them together are the matrix of a dense form."""
    features, offset, weight, mask, bias = inputs(CASES[0])
    expected = modulated_deform_conv2d(features, offset, mask, weight, bias, *CASES[0][:5])
    shapes, original = [], module.tap_columns
    monkeypatch.setattr(module, 'ENTRIES', entries)
    monkeypatch.setattr(module, 'tap_columns', lambda *args: shapes.append((result := original(*args)).shape) or result)
    leaves = [tensor.requires_grad_() for tensor in (features, offset, mask, weight)]
    found = modulated_deform_conv2d(*leaves[:3], leaves[3], bias, *CASES[0][:5])
    torch.testing.assert_close(found, expected)
    assert [shape[1] for shape in shapes] == numbers and all(shape.numel() <= max(entries, 120) for shape in shapes)
    given = torch.ones_like(found)
    stepped = torch.autograd.grad(found, leaves, given)
    monkeypatch.setattr(module, 'ENTRIES', 1 << 20)
    whole = torch.autograd.grad(modulated_deform_conv2d(*leaves[:3], leaves[3], bias, *CASES[0][:5]), leaves, given)
    for one, other in zip(stepped, whole):
        torch.testing.assert_close(one, other)
