"""RoIAlign against loops over regions, bins and samples in float64."""

import math

import pytest
import torch
from helpers.largest_tensor import largest
from mmcv.ops import RoIAlign, roi_align

from mmdvis.mmcv_ops_fallback import has_compiled_ops

pytestmark = pytest.mark.skipif(has_compiled_ops(), reason='mmcv has compiled operators')


def sample(plane, y, x):
    """Bilinear sample of a plane (H, W) by the rules of mmcv's kernel."""
    height, width = plane.shape
    if y < -1 or y > height or x < -1 or x > width:
        return plane.new_zeros(())
    y, x = max(y, 0.0), max(x, 0.0)
    top, left = int(y), int(x)
    if top >= height - 1:
        top = bottom = height - 1
        y = float(top)
    else:
        bottom = top + 1
    if left >= width - 1:
        left = right = width - 1
        x = float(left)
    else:
        right = left + 1
    dy, dx = y - top, x - left
    return (
        plane[top, left] * (1 - dy) * (1 - dx)
        + plane[top, right] * (1 - dy) * dx
        + plane[bottom, left] * dy * (1 - dx)
        + plane[bottom, right] * dy * dx
    )


def scalar_roi_align(features, rois, bins, scale, ratio, mode, aligned):
    output = features.new_zeros(len(rois), features.shape[1], *bins)
    for r, roi in enumerate(rois.tolist()):
        image = int(roi[0])
        x1, y1, x2, y2 = (value * scale - (0.5 if aligned else 0) for value in roi[1:])
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1.0), max(height, 1.0)
        lines = ratio if ratio > 0 else math.ceil(height / bins[0])
        columns = ratio if ratio > 0 else math.ceil(width / bins[1])
        for c in range(features.shape[1]):
            for i in range(bins[0]):
                for j in range(bins[1]):
                    values = [
                        sample(
                            features[image, c],
                            y1 + height / bins[0] * (i + (a + 0.5) / lines),
                            x1 + width / bins[1] * (j + (b + 0.5) / columns),
                        )
                        for a in range(lines)
                        for b in range(columns)
                    ]
                    if values:
                        stacked = torch.stack(values)
                        output[r, c, i, j] = stacked.mean() if mode == 'avg' else stacked.max()
    return output


ROIS = torch.tensor(
    [
        [0, 1.3, 2.1, 20.7, 15.2],
        [1, -6.0, 3.0, 12.5, 40.0],  # partly outside
        [0, 50.0, 60.0, 70.0, 80.0],  # outside
        [1, 4.0, 4.0, 4.0, 4.0],  # empty
        [0, 9.0, 7.0, 5.0, 3.0],  # reversed
        [1, 0.0, 0.0, 26.0, 18.0],  # the whole image
    ],
    dtype=torch.float64,
)


@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 1, 2, 3])
def test_against_loops(mode, aligned, ratio):
    features = torch.randn(2, 3, 9, 13, dtype=torch.float64, generator=torch.Generator().manual_seed(ratio))
    found = roi_align(features, ROIS, (3, 2), 0.5, ratio, mode, aligned)
    expected = scalar_roi_align(features, ROIS, (3, 2), 0.5, ratio, mode, aligned)
    assert (found - expected).abs().max() <= 1e-12
    single = roi_align(features.float(), ROIS.float(), (3, 2), 0.5, ratio, mode, aligned)
    torch.testing.assert_close(single, expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('mode', ['avg', 'max'])
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_gradients(mode, aligned, ratio):
    features = torch.randn(2, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    rois = ROIS * torch.tensor([1, 0.5, 0.5, 0.5, 0.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: roi_align(x, rois, (2, 3), 0.5, ratio, mode, aligned), (features,), atol=1e-6
    )


def test_chunks_are_joined(monkeypatch):
    from mmdvis.ops import roi_align as module

    features, rois = torch.randn(2, 4, 9, 13, dtype=torch.float64), ROIS.repeat(5, 1)
    whole = roi_align(features, rois, (3, 2), 0.5, 2)
    monkeypatch.setattr(module, 'ENTRIES', 300)
    assert torch.equal(roi_align(features, rois, (3, 2), 0.5, 2), whole)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    features = torch.randn(2, 4, 9, 13).to(dtype)
    found = roi_align(features, ROIS.float().to(dtype), (3, 2), 0.5, 2)
    exact = roi_align(features.float(), ROIS.float().to(dtype).float(), (3, 2), 0.5, 2)
    assert found.dtype == dtype
    torch.testing.assert_close(found, exact.to(dtype))


def test_no_regions():
    layer = RoIAlign((7, 7), 0.25, 2)
    assert layer(torch.randn(1, 8, 10, 10), torch.zeros(0, 5)).shape == (0, 8, 7, 7)


def test_memory_is_bounded():
    """512 regions of 256 channels: at most 64 MB beyond the output and one copy of the features."""
    features = torch.randn(1, 256, 100, 168)
    corner = torch.rand(512, 2, generator=torch.Generator().manual_seed(0)) * 300
    rois = torch.cat([torch.zeros(512, 1), corner, corner + 200], 1)
    output, copy = 512 * 256 * 49, features.numel()
    assert largest(lambda: roi_align(features, rois, (7, 7), 0.25, 2)) <= max(output, copy, 64e6 / 4)
