"""An optimised model gives the results of the original model."""

import copy
import warnings

import pytest
import torch
from helpers import tiny
from mmcv.cnn.utils import fuse_conv_bn
from torch import nn

from mmdvis.apis import optimize_for_inference
from mmdvis.errors import OptionError
from mmdvis.inference.int8_linear import Int8Linear
from mmdvis.io import ArrayFrames
from mmdvis.models import Linear, PointwiseConv
from mmdvis.results import VideoDataSample


def model(**options):
    """Build a tiny model with random batch norm statistics."""
    detector = tiny.model(refiner=True, **options).eval()
    generator = torch.Generator().manual_seed(3)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
    return detector


def tracks(model):
    frames = torch.randn(1, 4, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(frames)


def test_float32_results_agree_up_to_rounding():
    plain, tuned = tracks(model()), tracks(optimize_for_inference(model()))
    for name in ('class_logits', 'mask_embeds', 'mask_features'):
        torch.testing.assert_close(getattr(tuned, name), getattr(plain, name), atol=1e-4, rtol=1e-4)
    assert not any(
        isinstance(module, nn.BatchNorm2d) for module in optimize_for_inference(model()).segmenter.backbone.modules()
    )


def test_layers_are_replaced_by_faster_ones():
    tuned = optimize_for_inference(model())
    assert isinstance(tuned.segmenter.pixel_decoder.encoder.layers[0].ffn.layers[0][0], Linear)
    assert isinstance(tuned.segmenter.pixel_decoder.mask_feature, PointwiseConv)
    for module in tuned.modules():
        assert type(module) is not nn.Linear
        assert not (isinstance(module, nn.Conv2d) and PointwiseConv.fits(module))
    assert tuned.state_dict().keys() == fuse_conv_bn(model()).state_dict().keys()


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_products_of_onednn_in_a_whole_model(precision, monkeypatch):
    expected = tracks(optimize_for_inference(model(), precision))
    monkeypatch.setattr('mmdvis.structures.linear.SMALL', 0)
    found = tracks(optimize_for_inference(model(), precision))
    for name in ('class_logits', 'mask_embeds', 'mask_features'):
        one, other = getattr(found, name).float(), getattr(expected, name).float()
        assert (one - other).norm() / other.norm() < (1e-5 if precision == 'fp32' else 0.05)
    plain = tracks(model())
    torch.testing.assert_close(
        plain.mask_features, tracks(optimize_for_inference(model())).mask_features, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize('precision', ['fp32', 'bf16', 'int8'])
def test_a_model_in_float32_can_be_optimised_again(precision):
    once, twice = optimize_for_inference(model(), precision), optimize_for_inference(model())
    torch.testing.assert_close(
        tracks(optimize_for_inference(twice, precision)).mask_features, tracks(once).mask_features, rtol=1e-3, atol=1e-3
    )


def test_bfloat16_keeps_weights_of_products_and_little_else():
    tuned = optimize_for_inference(model(), 'bf16')
    dtypes = {name: value.dtype for name, value in tuned.named_parameters()}
    lower = {name for name, dtype in dtypes.items() if dtype == torch.bfloat16}
    assert lower >= {
        'segmenter.backbone.conv1.weight',
        'segmenter.transformer_decoder.layers.0.cross_attn.attn.in_proj_weight',
        'tracker.layers.0.ffn.layers.0.0.weight',
        'refiner.layers.0.conv.0.weight',
    }
    assert not any('norm' in name or 'embed.weight' in name and 'level' in name for name in lower)
    assert all(
        dtypes[name] == torch.float32 for name in dtypes if 'sampling_offsets' in name or 'attention_weights' in name
    )
    plain, half = tracks(model()), tracks(tuned)
    assert half.mask_features.dtype == torch.bfloat16
    difference = (half.mask_features.float() - plain.mask_features).norm() / plain.mask_features.norm()
    assert 0 < difference < 0.05


@pytest.mark.parametrize(
    'tracker, segmenter', [('cosine', tiny.EOMT), ('fixed', tiny.VIDEOMT)], ids=['eomt', 'videomt']
)
def test_segmenters_without_a_decoder(tracker, segmenter):
    def optimised(*arguments, **options):
        return optimize_for_inference(tiny.model(tracker, segmenter=segmenter).eval(), *arguments, **options)

    plain = tracks(tiny.model(tracker, segmenter=segmenter).eval())
    for found in (tracks(optimised()), tracks(optimised(compiled=True))):
        torch.testing.assert_close(found.mask_embeds, plain.mask_embeds, atol=1e-5, rtol=1e-5)
    half = tracks(optimised('bf16'))
    assert half.mask_features.dtype == torch.bfloat16
    assert 0 < (half.mask_features.float() - plain.mask_features).norm() / plain.mask_features.norm() < 0.05


def test_whole_videos_go_through_in_half_precision():
    frames = torch.randint(256, (5, 3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    result = (
        optimize_for_inference(model(), 'bf16').predict([ArrayFrames(frames)], [VideoDataSample()])[0].pred_panoptic
    )
    assert result.id_map.shape == (5, 50, 70) and result.segments


def test_what_cannot_be_tuned_is_said():
    with pytest.raises(ValueError, match=r'call eval\(\) first'):
        optimize_for_inference(tiny.model().train())
    with pytest.raises(ValueError, match="precision must be 'fp32', 'bf16', 'fp16' or 'int8', got 'int4'"):
        optimize_for_inference(model(), 'int4')
    with pytest.raises(ValueError, match="precision must be 'fp32', 'bf16' or 'fp16', got 'int8'"):
        tiny.model(precision='int8')
    with pytest.raises(OptionError, match='models in int8 cannot be compiled'):
        optimize_for_inference(model(), 'int8', compiled=True)
    with pytest.raises(OptionError, match='int8 runs on the CPU only, and the model is on meta'):
        optimize_for_inference(model().to('meta'), 'int8')
    with pytest.raises(OptionError, match='models of the DVIS family that are not exported, got Linear'):
        optimize_for_inference(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="precision must be 'fp32', 'bf16' or 'fp16', got 'half'"):
        tiny.model(precision='half')
    with pytest.warns(UserWarning, match='fp16 is slow on the CPU'):
        optimize_for_inference(model(), 'fp16')


@pytest.mark.parametrize('capability, is_slow', [('AVX2', True), ('DEFAULT', True), ('AVX512', False)])
@pytest.mark.parametrize('machine', ['x86_64', 'arm64'])
def test_bfloat16_on_an_old_cpu_warns(monkeypatch, capability, is_slow, machine):
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: capability)
    monkeypatch.setattr('platform.machine', lambda: machine)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        optimize_for_inference(model(), 'bf16')
    warned = any('bf16 is slow on this CPU' in str(warning.message) for warning in caught)
    assert warned == (is_slow and machine == 'x86_64')
    with pytest.warns(UserWarning, match='use fp32 or int8' if is_slow and machine == 'x86_64' else 'use bf16'):
        optimize_for_inference(model(), 'fp16')


SWIN = dict(
    type='mmdet.SwinTransformer',
    embed_dims=8,
    depths=(1, 1, 1, 1),
    num_heads=(1, 1, 2, 2),
    window_size=4,
    strides=(4, 2, 2, 2),
    out_indices=(0, 1, 2, 3),
)
DINOV2 = dict(type='DINOv2', arch=dict(channels=16, depth=4, num_heads=2, ffn='mlp'), table=4)
ADAPTER = dict(type='ViTAdapter', vit=DINOV2, num_heads=2, prior_channels=4, norm_cfg=dict(type='BN'))
SEGMENTERS = dict(
    resnet=tiny.SEGMENTER,
    swin=dict(tiny.SEGMENTER, backbone=SWIN, in_channels=(8, 16, 32, 64)),
    adapter=dict(tiny.SEGMENTER, backbone=ADAPTER, in_channels=(16,) * 4),
    eomt=tiny.EOMT,
    eomt_dinov3=dict(
        tiny.EOMT, backbone=dict(type='DINOv3', arch=dict(channels=24, depth=4, num_heads=2), patch_size=8)
    ),
    videomt=tiny.VIDEOMT,
)
QUANTISED = dict(  # a layer of each that multiplies integers
    resnet='pixel_decoder.encoder.layers.0.self_attn.value_proj',
    swin='backbone.stages.0.blocks.0.attn.w_msa.qkv',
    adapter='backbone.vit_module.blocks.0.attn.qkv',
    eomt='backbone.blocks.0.mlp.fc1',
    eomt_dinov3='backbone.blocks.0.attn.qkv',
    videomt='backbone.blocks.0.attn.proj',
)


@pytest.mark.parametrize('kind', SEGMENTERS)
def test_int8_replaces_the_linear_layers_that_process_all_tokens(kind):
    tracker = dict(eomt='cosine', eomt_dinov3='cosine', videomt='fixed').get(kind, 'dvis')
    plain, tuned = (tiny.model(tracker, segmenter=SEGMENTERS[kind]).eval() for _ in range(2))
    tuned = optimize_for_inference(tuned, 'int8')
    quantised = {name for name, module in tuned.named_modules() if isinstance(module, Int8Linear)}
    assert f'segmenter.{QUANTISED[kind]}' in quantised
    assert all(name.startswith(('segmenter.backbone', 'segmenter.pixel_decoder')) for name in quantised)
    assert not any('sampling_offsets' in name or 'attention_weights' in name for name in quantised)
    exact, found = tracks(plain), tracks(tuned)
    difference = (found.mask_features - exact.mask_features).norm() / exact.mask_features.norm()
    assert 0 < difference < 0.1
    assert torch.equal(tracks(copy.deepcopy(tuned)).mask_features, found.mask_features)
    assert tuned.options.precision == 'fp32'


def test_a_model_is_optimised_once():
    for precision in ('int8', 'bf16'):
        tuned = optimize_for_inference(model(), precision)
        with pytest.raises(OptionError, match='the weights of the model are not float32'):
            optimize_for_inference(tuned, 'fp32')
    with pytest.raises(OptionError, match='a model in int8 stays on the CPU in its precision'):
        optimize_for_inference(model(), 'int8').bfloat16()


def test_the_pixel_decoder_trains_in_float32_under_autocast():
    decoder = model().segmenter.pixel_decoder.train()
    features = [
        torch.randn(1, channels, 64 // stride, 96 // stride)
        for channels, stride in zip((8, 16, 32, 64), (4, 8, 16, 32))
    ]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert decoder(features)[0].dtype == torch.float32
        assert decoder.eval()(features)[0].dtype == torch.bfloat16


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
@pytest.mark.parametrize('adapter', [False, True])
@pytest.mark.filterwarnings('ignore:fp16 is slow')
def test_every_kind_of_model_runs_in_half_precision(precision, adapter):
    """Adapters always sample in float32; in fp16, the whole pixel decoder runs in float32, too."""
    segmenter = SEGMENTERS['adapter' if adapter else 'resnet']
    detector = tiny.model('dvis', True, segmenter=segmenter).eval()
    detector = optimize_for_inference(detector, precision)
    assert torch.isfinite(tracks(detector).mask_features.float()).all()
