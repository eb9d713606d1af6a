"""Linear layers with products of 8-bit integers, compared with float64."""

import copy

import pytest
import torch
from torch import nn

from mmdvis.errors import OptionError
from mmdvis.inference.int8_linear import Int8Linear


def layer(inputs, outputs, bias=True):
    """A float32 layer with random weights, and its quantised form."""
    torch.manual_seed(inputs + outputs)
    linear = nn.Linear(inputs, outputs, bias).eval()
    return linear, Int8Linear(linear)


@pytest.mark.parametrize('shape', [(1, 24), (7, 24), (2, 300, 24)])
@pytest.mark.parametrize('bias', [True, False])
def test_outputs_are_those_of_rounded_factors(shape, bias):
    """Weights rounded to 1/127 of the largest of their row, inputs to 1/127 of their range, sums exact."""
    linear, quantised = layer(24, 40, bias)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 0.3
    weight, inputs = linear.weight.detach().double(), x.double()
    scale = weight.abs().amax(1, keepdim=True) / 127
    step = (inputs.max() - inputs.min()) / 127
    rounded = ((inputs / step).round() * step, (weight / scale).round() * scale)
    expected = rounded[0] @ rounded[1].T + (linear.bias.detach().double() if bias else 0)
    found = quantised(x)
    assert found.dtype == torch.float32 and found.shape == (*shape[:-1], 40)
    # values halfway between two steps can be rounded to either
    assert (found.double() - expected).abs().max() < 1.5 * step * weight.abs().max() and (
        found.double() - expected
    ).abs().median() < 0.05 * step * weight.abs().max()
    exact = linear(x).detach()
    assert 0 < (found - exact).norm() / exact.norm() < 0.03


@pytest.mark.parametrize('offset', [0.0, 5.0, -5.0])
def test_inputs_of_one_sign_and_extremes(offset):
    linear, quantised = layer(64, 8)
    x = torch.rand(50, 64, generator=torch.Generator().manual_seed(1)) + offset
    step = (max(x.max().item(), 0) - min(x.min().item(), 0)) / 127
    weights = linear.weight.detach().abs()
    bound = step / 2 * weights.sum(1) + x.abs().sum(1, keepdim=True) * weights.amax(1) / 254 + 1e-4
    assert ((quantised(x) - linear(x).detach()).abs() < bound).all()
    largest = torch.full((3, 64), 1e4)  # 8-bit sums of two products would overflow 16 bits
    torch.testing.assert_close(quantised(largest), linear(largest).detach(), atol=80, rtol=1e-2)
    assert torch.equal(quantised(torch.zeros(2, 64)), linear.bias.detach().expand(2, -1))


def test_empty_and_unusable_inputs():
    _, quantised = layer(16, 4)
    assert quantised(torch.zeros(2, 0, 16)).shape == (2, 0, 4)
    for value in (torch.nan, torch.inf, -torch.inf):
        x = torch.zeros(3, 16)
        x[1, 2] = value
        assert quantised(x).isnan().all()


def test_a_copy_gives_the_same_outputs():
    _, quantised = layer(16, 4)
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(2))
    assert torch.equal(copy.deepcopy(quantised)(x), quantised(x))
    assert 'in_features=16, out_features=4' in repr(quantised)


def test_loaded_weights_are_used():
    _, quantised = layer(16, 4)
    _, other = layer(16, 4)
    other.load_state_dict({name: x.flip(0) for name, x in quantised.state_dict().items()})
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(2))
    assert torch.equal(other(x), quantised(x).flip(1))


def test_without_onednn_the_reason_is_said(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: False)
    with pytest.raises(OptionError, match='int8 needs a build of PyTorch with oneDNN'):
        Int8Linear(nn.Linear(4, 4))
