"""The segmenter and its layers."""

import sys
import warnings
from subprocess import CalledProcessError
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from helpers import tiny

from mmdvis.models.functional import deform_attn
from mmdvis.models.functional.deform_attn import compiled_attention, gathered_attention, sample_grid
from mmdvis.models.functional.position_encoding import sine_encoding
from mmdvis.models.layers.attention import MultiheadAttention
from mmdvis.models.layers.ms_deform_attn import MSDeformAttn, softmax_of_few
from mmdvis.models.layers.pixel_decoder import PixelDecoder
from mmdvis.models.layers.transformer_decoder import MaskedDecoder
from mmdvis.registry import MODELS
from mmdvis.structures import StepContext


def build():
    torch.manual_seed(0)
    return MODELS.build(tiny.SEGMENTER).eval()


def test_shapes():
    queries = build()(torch.randn(2, 3, 3, 64, 96))
    assert queries.embeds.shape == (2, 3, tiny.QUERIES, tiny.WIDTH)
    assert queries.class_logits.shape == (2, 3, tiny.QUERIES, tiny.CLASSES + 1)
    assert queries.mask_features.shape == (2, 3, tiny.WIDTH, 16, 24)
    assert queries.present.all()


def test_a_frame_knows_nothing_of_the_others():
    segmenter, frames = build(), torch.randn(1, 3, 3, 64, 96)
    with torch.no_grad():
        together, alone = segmenter(frames), segmenter(frames[:, 1:2])
    for name in ('embeds', 'class_logits', 'mask_embeds', 'mask_features'):
        torch.testing.assert_close(getattr(together, name)[:, 1:2], getattr(alone, name), atol=1e-4, rtol=1e-4)


def test_attention_equals_torch():
    torch.manual_seed(0)
    ours, theirs = MultiheadAttention(16, 4), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    q, k, v = torch.randn(2, 5, 16), torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    allowed = torch.rand(2, 5, 7) > 0.4
    allowed[..., 0] = True
    expected = theirs(q, k, v, attn_mask=~allowed.repeat_interleave(4, 0))[0]
    torch.testing.assert_close(ours(q, k, v, allowed), expected, atol=1e-5, rtol=1e-4)


def test_attention_refuses_odd_heads():
    with pytest.raises(ValueError, match='multiple of num_heads, got 16 and 3'):
        MultiheadAttention(16, 3)


def deformable_by_grid_sample(value, shapes, locations, weights):
    """Plain deformable attention: the weighted sum of bilinear samples with zero padding."""
    batch, _, heads, width = value.shape
    out = torch.zeros(batch, locations.shape[1], heads, width, dtype=value.dtype)
    for level, tokens in enumerate(value.split([h * w for h, w in shapes], 1)):
        h, w = shapes[level]
        maps = tokens.permute(0, 2, 3, 1).reshape(batch * heads, width, h, w)
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1  # (B * heads, N, points, 2)
        samples = F.grid_sample(maps, grid, align_corners=False)  # (B * heads, d, N, points)
        share = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
        out += (samples * share).sum(-1).unflatten(0, (batch, heads)).permute(0, 3, 1, 2)
    return out.flatten(2)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_deformable_attention_equals_its_definition(dtype):
    torch.manual_seed(0)
    shapes = [(4, 5), (7, 3)]
    value = torch.randn(2, 41, 3, 8, dtype=dtype, requires_grad=True)
    locations = (torch.rand(2, 6, 3, 2, 4, 2, dtype=dtype) * 1.4 - 0.2).requires_grad_()
    weights = torch.rand(2, 6, 3, 2, 4, dtype=dtype, requires_grad=True)
    inputs = (value, locations, weights)
    ours = gathered_attention(value, shapes, locations, weights)
    reference = deformable_by_grid_sample(value, shapes, locations, weights)
    torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-4)
    seed = torch.randn_like(ours)
    for a, b in zip(torch.autograd.grad(ours, inputs, seed), torch.autograd.grad(reference, inputs, seed)):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_deformable_attention_equals_mmcv():
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    torch.manual_seed(0)
    shapes = torch.tensor([(4, 6), (2, 3)])
    value, locations, weights = torch.randn(2, 30, 2, 8), torch.rand(2, 5, 2, 2, 4, 2), torch.rand(2, 5, 2, 2, 4)
    expected = multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    torch.testing.assert_close(
        gathered_attention(value, shapes.tolist(), locations, weights), expected, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_the_compiled_operator_gets_what_it_can_take(dtype, monkeypatch):
    """The operator gets float32 and a step that divides the batch; mmcv's default of 64 does not divide 70."""
    from mmcv.ops import multi_scale_deform_attn as mmcv_op

    calls = []

    def forward(value, sizes, starts, locations, weights, im2col_step):
        calls.append((value.dtype, locations.dtype, weights.dtype, sizes.tolist(), starts.tolist(), im2col_step))
        return value.new_ones(len(value), locations.shape[1], value.shape[2] * value.shape[3])

    monkeypatch.setattr(mmcv_op, 'ext_module', SimpleNamespace(ms_deform_attn_forward=forward))
    value, locations, weights = torch.randn(70, 30, 2, 8), torch.rand(70, 5, 2, 2, 4, 2), torch.rand(70, 5, 2, 2, 4)
    output = compiled_attention(value.to(dtype), [(4, 6), (2, 3)], locations.to(dtype), weights.to(dtype))
    assert output.shape == (70, 5, 16) and output.dtype == dtype
    ((*dtypes, sizes, starts, step),) = calls
    assert set(dtypes) == {torch.float32} and 70 % step == 0
    assert sizes == [[4, 6], [2, 3]] and starts == [0, 24]


@pytest.mark.parametrize(
    'failure',
    [
        ImportError('No module named triton'),
        RuntimeError('Failed to find C compiler'),
        CalledProcessError(1, '/bin/false'),
    ],
)
def test_triton_steps_aside_with_one_sentence(failure, monkeypatch):
    """``CC=/bin/false`` causes the last failure."""

    def fail(*_):
        raise failure

    monkeypatch.setitem(sys.modules, 'mmdvis.models.functional.deform_triton', SimpleNamespace(triton_attention=fail))
    device = torch.device('cpu')
    deform_attn.triton_runs.cache_clear()
    with pytest.warns(UserWarning, match=f'Triton is not usable .{type(failure).__name__}.* runs in PyTorch'):
        assert not deform_attn.triton_runs(device)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert not deform_attn.triton_runs(device)  # warned once
    deform_attn.triton_runs.cache_clear()


@pytest.mark.parametrize(
    'compiled, triton, expected', [(True, True, 'compiled'), (False, True, 'triton'), (False, False, 'gathered')]
)
def test_a_gpu_takes_the_best_there_is(compiled, triton, expected, monkeypatch):
    def way(name):
        return lambda *_: name

    monkeypatch.setattr(deform_attn, 'has_compiled_ops', lambda: compiled)
    monkeypatch.setattr(deform_attn, 'triton_runs', lambda device: triton)
    monkeypatch.setattr(deform_attn, 'compiled_attention', way('compiled'))
    monkeypatch.setattr(deform_attn, 'gathered_attention', way('gathered'))
    monkeypatch.setitem(
        sys.modules, 'mmdvis.models.functional.deform_triton', SimpleNamespace(triton_attention=way('triton'))
    )
    monkeypatch.setattr(deform_attn, 'sampling_locations', way('locations'))
    on_gpu = SimpleNamespace(is_cuda=True, is_cpu=False, device='cuda:0')
    assert deform_attn.deformable_attention(on_gpu, [], None, None, None) == expected
    on_cpu = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    assert deform_attn.deformable_attention(on_cpu, [], on_cpu, on_cpu, on_cpu) == 'gathered'


def test_more_tokens_than_float32_can_number_are_refused():
    with pytest.raises(ValueError, match='got 16777217 tokens with the borders of their maps and 1 heads; use smaller'):
        sample_grid([(4093, 4094)], 1, 4, torch.device('cpu'))


def test_locations_far_beside_the_map_are_zeros():
    """The last pixel of each level has neighbours in the table, too, and none of them counts."""
    value = torch.rand(1, 6 + 4, 1, 4) + 1
    for place in (-1e9, -3.0, 3.0, 1e9, float('inf'), -float('inf')):
        for axis in (0, 1):
            locations = torch.full((1, 1, 1, 2, 1, 2), 0.5)
            locations[..., axis] = place
            out = gathered_attention(value, [(2, 3), (2, 2)], locations, torch.ones(1, 1, 1, 2, 1))
            assert torch.equal(out, torch.zeros(1, 1, 4))
    corner = torch.tensor([1.0, 1.0]).expand(1, 1, 1, 2, 1, 2)  # a quarter of the last pixel of each level
    out = gathered_attention(value, [(2, 3), (2, 2)], corner, torch.ones(1, 1, 1, 2, 1))
    torch.testing.assert_close(out, (value[:, 5] + value[:, 9]) / 4)


@pytest.mark.parametrize('shapes', [[(8, 16), (1, 1)], [(1, 100), (1, 1)], [(1, 1), (8, 16)], [(1, 1)]], ids=str)
def test_levels_of_any_shapes_side_by_side(shapes):
    """Positions on the edge of the border read no pixel of another level, and have no gradient."""
    torch.manual_seed(0)
    tokens = torch.randn(1, sum(h * w for h, w in shapes), 2, 3, dtype=torch.float64, requires_grad=True)
    places = [-2.0, 0.0, 0.5, 1.0, 2.0, *(1 + 0.5 / length for shape in shapes for length in shape)]
    places = torch.tensor(places, dtype=torch.float64)
    locations = torch.stack(torch.meshgrid(places, places, indexing='ij'), -1).view(1, -1, 1, 1, 1, 2)
    locations = locations.expand(-1, -1, 2, len(shapes), 1, -1).clone().requires_grad_()
    shares = torch.rand(locations.shape[:-1], dtype=torch.float64)
    found = gathered_attention(tokens, shapes, locations, shares)
    expected = deformable_by_grid_sample(tokens, shapes, locations, shares)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    found_gradients, gradients = (torch.autograd.grad(x.square().sum(), (tokens, locations)) for x in (found, expected))
    torch.testing.assert_close(found_gradients[0], gradients[0], atol=1e-5, rtol=1e-5)
    sizes = torch.tensor([(w, h) for h, w in shapes])[:, None]
    pixels = locations * sizes - 0.5
    is_outside = ((pixels <= -1) | (pixels >= sizes)).any(-1, keepdim=True)
    assert is_outside.any() and not (found_gradients[1] * is_outside).any()
    is_inside = ((pixels >= 0) & (pixels <= sizes - 1)).all(-1, keepdim=True)
    torch.testing.assert_close(found_gradients[1] * is_inside, gradients[1] * is_inside, atol=1e-4, rtol=1e-4)


def test_softmax_of_few_is_softmax():
    x = (100 * torch.randn(3, 5, 12, dtype=torch.float64)).requires_grad_()
    ours, theirs = softmax_of_few(x), x.softmax(-1)
    torch.testing.assert_close(ours, theirs)
    seed = torch.randn_like(ours)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, seed)[0] for y in (ours, theirs)))


def test_deformable_layer_starts_by_looking_around():
    layer = MSDeformAttn(16, num_heads=4, num_levels=3, num_points=2)
    bias = layer.sampling_offsets.bias.view(4, 3, 2, 2)
    torch.testing.assert_close(bias[0, 0], torch.tensor([[1.0, 0.0], [2.0, 0.0]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(bias[1, 2, 0], torch.tensor([0.0, 1.0]), atol=1e-6, rtol=0)


def test_sine_encoding_equals_mmdet():
    from mmdet.models.layers import SinePositionalEncoding

    expected = SinePositionalEncoding(num_feats=8, normalize=True)(torch.zeros(1, 5, 7))
    torch.testing.assert_close(sine_encoding(5, 7, 16, torch.zeros(1)), expected[0].flatten(1).T, atol=1e-5, rtol=1e-4)


def test_attention_masks_equal_those_made_at_stride_4():
    """Resizing commutes with the product over channels, so masks at stride 4 are not needed."""
    torch.manual_seed(0)
    features, embeds = torch.randn(1, 16, 16, 24), torch.randn(1, 7, 16)
    dense = torch.einsum('nqm,nmhw->nqhw', embeds, features)
    big = F.interpolate(dense, size=(8, 12), mode='bilinear', align_corners=False)
    small = F.interpolate(features, size=(8, 12), mode='bilinear', align_corners=False)
    torch.testing.assert_close(torch.einsum('nqm,nmhw->nqhw', embeds, small), big, atol=1e-4, rtol=1e-4)


def test_a_query_that_may_look_nowhere_looks_everywhere():
    torch.manual_seed(0)
    decoder = MaskedDecoder(16, num_layers=1, num_heads=2, ffn_channels=24)
    x, place, memory = torch.randn(1, 3, 16), torch.randn(3, 16), torch.randn(1, 16, 2, 3)

    def run(mask_value):
        features = torch.full((1, 16, 8, 12), mask_value)
        return decoder(x, place, [memory], torch.zeros(1, 16), features, torch.ones_like)[-1]

    torch.testing.assert_close(run(-1.0), run(1.0))


def test_losses_of_all_layers_reach_all_parameters():
    segmenter = build().train()
    for objects in (((2, 0), (4, 0)), ()):
        segmenter.zero_grad()
        losses = segmenter.loss(torch.randn(1, 1, 3, 64, 96), [tiny.targets(1, objects=objects)], StepContext())
        assert len(losses) == 3 * 4
        sum(losses.values()).backward()
        without = [name for name, p in segmenter.named_parameters() if p.grad is None]
        assert not without


def test_pixel_decoder_starts_as_the_public_one():
    """Weights are uniform with the bounds of detectron2's Mask2Former; biases are zero."""
    torch.manual_seed(0)
    decoder = PixelDecoder((8, 16, 32, 64), 64, 48, num_layers=1, num_heads=4, ffn_channels=96, norm_groups=4)
    ffn = decoder.encoder.layers[0].ffn.layers
    bounds = {  # Kaiming with a = 1: sqrt(3 / fan_in); Xavier: sqrt(6 / (fan_in + fan_out))
        decoder.mask_feature: 3 / 64,
        decoder.lateral_convs[0].conv: 3 / 8,
        decoder.output_convs[0].conv: 3 / (64 * 9),
        decoder.input_convs[0].conv: 6 / (64 + 64),
        ffn[0][0]: 6 / (64 + 96),
        ffn[1]: 6 / (64 + 96),
    }
    for layer, square in bounds.items():
        largest = layer.weight.abs().max().item()
        assert 0.97 * square**0.5 < largest <= square**0.5, layer
    for layer in (decoder.mask_feature, decoder.input_convs[0].conv):
        assert not layer.bias.any()
