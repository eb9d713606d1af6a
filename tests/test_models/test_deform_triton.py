"""The Triton kernels compared with float64; without a GPU they run in the Triton interpreter."""

import os

import pytest
import torch

from mmdvis.testing.plain_paths import grid_sample_attention

os.environ.setdefault('TRITON_INTERPRET', '0' if torch.cuda.is_available() else '1')
pytest.importorskip('triton.language', reason='Triton is not installed; it comes with CUDA builds of torch')
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
SHAPES = [(4, 5), (7, 3)]


def inputs(heads=3, size=8, queries=6):
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 41, heads, size, generator=generator)
    locations = torch.rand(2, queries, heads, 2, 4, 2, generator=generator) * 1.4 - 0.2
    return value, locations, torch.rand(2, queries, heads, 2, 4, generator=generator)


@pytest.mark.parametrize('heads, size, queries', [(3, 8, 6), (2, 5, 40)])
def test_float32_equals_the_definition_in_float64(heads, size, queries):
    from mmdvis.models.functional.deform_triton import triton_attention

    tensors = inputs(heads, size, queries)
    exact = [x.double().requires_grad_() for x in tensors]
    ours = [x.to(DEVICE).requires_grad_() for x in tensors]
    expected, output = grid_sample_attention(exact[0], SHAPES, *exact[1:]), triton_attention(ours[0], SHAPES, *ours[1:])
    torch.testing.assert_close(output.cpu().double(), expected, atol=1e-5, rtol=1e-5)
    seed = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected_grads = torch.autograd.grad(expected, exact, seed)
    for a, b in zip(torch.autograd.grad(output, ours, seed.float().to(DEVICE)), expected_grads):
        torch.testing.assert_close(a.cpu().double(), b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_only_that_of_the_values(dtype):
    from mmdvis.models.functional.deform_triton import triton_attention

    value, locations, weights = inputs()
    value = value.to(dtype)
    output = triton_attention(value.to(DEVICE), SHAPES, locations.to(DEVICE), weights.to(DEVICE))
    expected = grid_sample_attention(value.double(), SHAPES, locations.double(), weights.double())
    assert output.dtype == dtype
    torch.testing.assert_close(output.cpu().double(), expected, atol=0, rtol=2 * torch.finfo(dtype).eps)
