"""Linear layers of oneDNN give the results of PyTorch, and are used where they can be."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmdvis.models import Linear, PointwiseConv
from mmdvis.models.functional import deform_attn
from mmdvis.models.layers import attention
from mmdvis.models.layers.attention import FeedForward
from mmdvis.structures.linear import ONEDNN_DTYPES, linear, products

needs_onednn = pytest.mark.skipif(not ONEDNN_DTYPES, reason='needs a build of PyTorch with oneDNN')


class Calls(TorchDispatchMode):
    """Records the names of all operators."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def data(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@needs_onednn
@pytest.mark.parametrize('dtype', ONEDNN_DTYPES, ids=str)
@pytest.mark.parametrize('has_bias', [True, False])
def test_equals_a_product_in_float64(dtype, has_bias):
    x, weight, bias = data(2, 90, 128).to(dtype), data(64, 128, seed=1).to(dtype), data(64, seed=2).to(dtype)
    bias = bias if has_bias else None
    exact = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    with torch.no_grad(), Calls() as calls:
        found = linear(x, weight, bias)
    assert 'mkldnn::_linear_pointwise' in calls.names
    tolerance = 1e-5 if dtype == torch.float32 else 2**-8
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), exact, rtol=tolerance, atol=tolerance)


@needs_onednn
def test_inputs_of_any_layout():
    x, weight, bias = data(90, 2, 128), data(128, 64, seed=1), data(128, seed=2)
    with torch.no_grad():
        found = linear(x.transpose(0, 1), weight.T, bias[::2])
    torch.testing.assert_close(found, F.linear(x.transpose(0, 1), weight.T, bias[::2]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('layout', [torch.channels_last, torch.contiguous_format], ids=str)
def test_products_with_feature_maps(layout):
    rows, maps = data(2, 70, 32), data(2, 32, 20, 30, seed=1).to(memory_format=layout)
    with torch.no_grad():
        torch.testing.assert_close(products(rows, maps.flatten(2)), rows @ maps.flatten(2), rtol=1e-5, atol=1e-5)
        assert products(rows[:0], maps[:0].flatten(2)).shape == (0, 70, 600)


def test_gradients_use_pytorch():
    x, weight, bias = data(90, 128), data(128, 128, seed=1).requires_grad_(), data(128, seed=2)
    with Calls() as calls:
        linear(x, weight, bias).relu().sum().backward()
    assert 'mkldnn::_linear_pointwise' not in calls.names
    passed = (F.linear(x, weight, bias) > 0).float()
    torch.testing.assert_close(weight.grad, passed.T @ x)


@pytest.mark.parametrize('x', [data(1, 8), data(0, 128), data(900, 128).double()], ids=['few', 'none', 'float64'])
def test_what_onednn_does_not_compute_uses_pytorch(x):
    weight = data(64, x.shape[1], seed=1).to(x)
    with torch.no_grad(), Calls() as calls:
        found = linear(x, weight, None)
    assert 'mkldnn::_linear_pointwise' not in calls.names
    torch.testing.assert_close(found, F.linear(x, weight))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_autocast_sets_the_precision(dtype):
    x, weight, bias = data(900, 128), data(64, 128, seed=1), data(64, seed=2)
    with torch.no_grad(), torch.autocast('cpu', dtype=dtype), Calls() as calls:
        found = linear(x, weight, bias)
        assert ('mkldnn::_linear_pointwise' in calls.names) == (dtype in ONEDNN_DTYPES)
        expected = F.linear(x, weight, bias)
        assert linear(x.double(), weight.double(), None).dtype == torch.float64
    assert found.dtype == expected.dtype == dtype
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=2**-5)


def test_traced_and_compiled_code_uses_pytorch():
    x, layer = data(900, 128), Linear(128, 64).requires_grad_(False)
    expected, graphs = F.linear(x, layer.weight, layer.bias), []

    def backend(graph, inputs):
        graphs.append(graph.code)
        return graph.forward

    traced = torch.jit.trace(layer, x)
    torch.testing.assert_close(traced(x), expected)
    torch.testing.assert_close(torch.compile(layer, backend=backend)(x), expected)
    (code,) = graphs
    assert 'linear' in code and '_linear_pointwise' not in code + traced.code


def test_numbers_that_are_not_finite_stay():
    x, weight = data(900, 128), data(64, 128, seed=1)
    x[3, 5], x[4, 6] = torch.nan, torch.inf
    with torch.no_grad():
        found = linear(x, weight, None)
    assert found[3].isnan().all() and not found[4].isfinite().any() and found[5:].isfinite().all()


def test_layers_share_their_parameters():
    layer, conv = nn.Linear(128, 128), nn.Conv2d(16, 32, 1)
    fused, pointwise = Linear.sharing(layer), PointwiseConv(conv)
    assert fused.weight is layer.weight and fused.bias is layer.bias
    assert pointwise.weight is conv.weight and pointwise.bias is conv.bias
    assert fused.state_dict().keys() == layer.state_dict().keys()
    x = data(90, 128)
    torch.testing.assert_close(fused(x), layer(x))


@pytest.mark.parametrize('layout', [torch.channels_last, torch.contiguous_format], ids=str)
@pytest.mark.parametrize('has_bias', [True, False])
def test_convolution_of_one_pixel(layout, has_bias):
    conv = nn.Conv2d(32, 64, 1, bias=has_bias).requires_grad_(False)
    x = data(2, 32, 20, 30).to(memory_format=layout)
    expected = conv(x)
    found = PointwiseConv(conv)(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.is_contiguous(memory_format=layout)
    assert PointwiseConv(conv)(x[:0]).shape == (0, 64, 20, 30)


@pytest.mark.parametrize(
    'module',
    [
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 1, stride=2),
        nn.Conv2d(4, 4, 1, groups=2),
        nn.Conv2d(4, 4, 1, padding=1),
    ],
    ids=str,
)
def test_other_convolutions_stay(module):
    assert PointwiseConv.fits(nn.Conv2d(4, 4, 1)) and not PointwiseConv.fits(module)


@pytest.mark.parametrize('tokens', [1, 8, 30])
def test_chunks_of_feed_forward_blocks(tokens, monkeypatch):
    monkeypatch.setattr(attention, 'HIDDEN', 8 * 48)
    block, x = FeedForward(16, 48), data(2, tokens, 16)
    whole = block(x)
    with torch.no_grad():
        torch.testing.assert_close(block(x), whole.detach(), rtol=1e-6, atol=1e-6)
    assert whole.requires_grad


@pytest.mark.parametrize('queries', [1, 7, 20, 64])
def test_chunks_of_queries_in_deformable_attention(queries, monkeypatch):
    monkeypatch.setattr(deform_attn, 'QUERIES', 7)
    shapes = [(2, 3), (4, 6)]
    generator = torch.Generator().manual_seed(queries)
    locations = torch.rand(2, queries, 2, 2, 3, 2, generator=generator) * 1.4 - 0.2
    weights = torch.rand(2, queries, 2, 2, 3, generator=generator)
    value = data(2, 30, 2, 4)
    whole = deform_attn.gathered_attention(value, shapes, locations, weights)
    with torch.no_grad():
        chunked = deform_attn.gathered_attention(value, shapes, locations, weights)
    assert torch.equal(whole, chunked)
    torch.testing.assert_close(chunked, deform_attn.grid_sample_attention(value, shapes, locations, weights))
