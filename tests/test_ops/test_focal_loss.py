"""Focal losses and deformable attention against scalar loops in float64."""

import math

import pytest
import torch
from mmcv.ops import sigmoid_focal_loss, softmax_focal_loss
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss

from mmdvis.mmcv_ops_fallback import FallbackOps, computed_names, has_compiled_ops
from mmdvis.ops import COMPUTED

pytestmark = pytest.mark.skipif(has_compiled_ops(), reason='mmcv has compiled operators')

TARGET = torch.tensor([0, 2, 3, 1, 3])  # 3 is "no class" for the sigmoid
WEIGHT = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64)


def scores(seed=0):
    return 3 * torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('gamma, alpha', [(2.0, 0.25), (0.5, 0.7), (1.0, 0.5)])
@pytest.mark.parametrize('weighted', [False, True])
def test_sigmoid_losses(gamma, alpha, weighted):
    weight = WEIGHT if weighted else None
    found = sigmoid_focal_loss(scores(), TARGET, gamma, alpha, weight, 'none')
    for k, row in enumerate(scores().tolist()):
        target = int(TARGET[k])
        factor = float(WEIGHT[target]) if weighted and target < 3 else 1.0
        for c, score in enumerate(row):
            p = 1 / (1 + math.exp(-score))
            positive = -alpha * (1 - p) ** gamma * math.log(p)
            negative = -(1 - alpha) * p**gamma * math.log(1 - p)
            expected = factor * (positive if c == target else negative)
            assert abs(float(found[k, c]) - expected) <= 1e-12
    leaf = scores().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: sigmoid_focal_loss(x, TARGET, gamma, alpha, weight, 'mean'), (leaf,), atol=1e-7
    )


def test_sigmoid_losses_are_those_of_mmdet():
    one_hot = torch.nn.functional.one_hot(TARGET, 4)[:, :3]
    expected = py_sigmoid_focal_loss(scores(), one_hot, gamma=2.0, alpha=0.25, reduction='none')
    torch.testing.assert_close(sigmoid_focal_loss(scores(), TARGET, 2.0, 0.25, None, 'none'), expected)


@pytest.mark.parametrize('gamma, alpha', [(2.0, 0.25), (1.5, 0.7)])
@pytest.mark.parametrize('weighted', [False, True])
def test_softmax_losses(gamma, alpha, weighted):
    target, weight = TARGET.clamp(max=2), WEIGHT if weighted else None
    found = softmax_focal_loss(scores(), target, gamma, alpha, weight, 'none')
    for k, row in enumerate(scores().tolist()):
        total = sum(map(math.exp, row))
        p = math.exp(row[int(target[k])]) / total
        factor = float(WEIGHT[target[k]]) if weighted else 1.0
        assert abs(float(found[k]) + factor * alpha * (1 - p) ** gamma * math.log(p)) <= 1e-12
    leaf = scores().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: softmax_focal_loss(x, target, gamma, alpha, weight, 'sum'), (leaf,), atol=1e-7
    )


def test_certain_scores_have_finite_losses():
    extreme = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = sigmoid_focal_loss(extreme, torch.tensor([1, 0]), 2.0, 0.25, None, 'sum')
    loss.backward()
    assert loss.isfinite() and extreme.grad.isfinite().all()


def scalar_attention(value, shapes, locations, weights):
    batch, _, heads, width = value.shape
    output = value.new_zeros(batch, locations.shape[1], heads, width)
    for b in range(batch):
        for n in range(locations.shape[1]):
            for h in range(heads):
                start = 0
                for level, (rows, columns) in enumerate(shapes):
                    plane = value[b, start : start + rows * columns, h].view(rows, columns, width)
                    start += rows * columns
                    for p in range(locations.shape[4]):
                        x = float(locations[b, n, h, level, p, 0]) * columns - 0.5
                        y = float(locations[b, n, h, level, p, 1]) * rows - 0.5
                        for row in (math.floor(y), math.floor(y) + 1):
                            for column in (math.floor(x), math.floor(x) + 1):
                                if 0 <= row < rows and 0 <= column < columns:
                                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                                    output[b, n, h] += weights[b, n, h, level, p] * share * plane[row, column]
    return output.flatten(2)


def attention_inputs():
    g = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (2, 2)]
    value = torch.randn(2, 16, 2, 3, dtype=torch.float64, generator=g)
    locations = 1.4 * torch.rand(2, 3, 2, 2, 2, 2, dtype=torch.float64, generator=g) - 0.2
    weights = torch.rand(2, 3, 2, 2, 2, dtype=torch.float64, generator=g)
    starts = torch.tensor([0, 12])
    return value, torch.tensor(shapes), starts, locations, weights


@pytest.mark.parametrize('step', [1, 2, 64])
def test_deformable_attention(step):
    value, shapes, starts, locations, weights = attention_inputs()
    function = MultiScaleDeformableAttnFunction.apply
    found = function(value, shapes, starts, locations, weights, step)
    expected = scalar_attention(value, shapes.tolist(), locations, weights)
    assert (found - expected).abs().max() <= 1e-12
    leaves = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    assert torch.autograd.gradcheck(lambda v, spots, w: function(v, shapes, starts, spots, w, step), leaves, atol=1e-6)


def test_every_computed_operator_is_found():
    import importlib

    operators = FallbackOps('mmcv._ext')
    assert set(computed_names()) == set(COMPUTED)
    for name, module in COMPUTED.items():
        assert callable(getattr(importlib.import_module(f'mmdvis.ops.{module}'), name))
        assert callable(getattr(operators, name))


def test_the_first_call_on_a_gpu_warns():
    class OnGPU:
        is_cuda = True

        def __getattr__(self, name):
            raise RuntimeError('no tensor')

    operators = FallbackOps('mmcv._ext')
    with pytest.warns(UserWarning, match="operator 'nms' of mmcv is computed in PyTorch.*on a GPU"):
        with pytest.raises(RuntimeError):
            operators.nms(OnGPU(), OnGPU(), iou_threshold=0.5, offset=0)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(RuntimeError, match='no tensor'):
            operators.nms(OnGPU(), OnGPU(), iou_threshold=0.5, offset=0)
