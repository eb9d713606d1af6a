"""EoMT: equal to the class of transformers through the converter, masks and their annealing, training, tracking."""

import cmath
import math
import re

import pytest
import torch
from helpers import tiny
from helpers.eomt import SIZES, official_names

from mmdvis.apis import optimize_for_inference
from mmdvis.checkpoints import Checkpoint, load_weights
from mmdvis.checkpoints.eomt import convert_eomt
from mmdvis.errors import CheckpointError
from mmdvis.inference.offline_video import memory_need
from mmdvis.io import ArrayFrames
from mmdvis.models.backbones.dinov2 import SelfAttention, rotate
from mmdvis.models.segmenters.eomt_segmenter import EoMTSegmenter, allowed_tokens, mask_probabilities
from mmdvis.models.trackers import CosineTracker
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, StepContext, cat_time

transformers = pytest.importorskip('transformers')
WIDTHS = dict(wide=(48, 3), narrow=(32, 4))  # channels and heads of DINOv3
CLASSES, QUERIES, BLOCKS, DEPTH, IMAGE = 5, 6, 2, 4, 96


SHARED = dict(
    num_hidden_layers=DEPTH, image_size=IMAGE, patch_size=16, num_blocks=BLOCKS, num_queries=QUERIES,
    num_labels=CLASSES, num_register_tokens=4, layerscale_value=0.7,
)  # fmt: skip


def theirs(name, probability=0.0):
    """The model of transformers with random weights: with DINOv2 for a name of SIZES, with DINOv3 for one of WIDTHS."""
    torch.manual_seed(1)
    if name in SIZES:
        model = transformers.EomtForUniversalSegmentation(transformers.EomtConfig(**SIZES[name][0], **SHARED))
    else:
        channels, heads = WIDTHS[name]
        sizes = dict(hidden_size=channels, num_attention_heads=heads, intermediate_size=4 * channels)
        model = transformers.EomtDinov3ForUniversalSegmentation(transformers.EomtDinov3Config(**sizes, **SHARED))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        model.attn_mask_probs.fill_(probability)
    return model.eval()


def dinov3_of(name):
    channels, heads = WIDTHS[name]
    arch = dict(channels=channels, depth=DEPTH, num_heads=heads)
    return dict(type='DINOv3', arch=arch, patch_size=16)


def config_of(name, **options):
    arch = dict(SIZES[name][1], depth=DEPTH)
    backbone = dict(type='DINOv2', arch=arch, patch_size=16, table=IMAGE // 16, registers=4, frozen=False)
    return segmenter_of(backbone, **options)


def segmenter_of(backbone, **options):
    return dict(
        type='EoMTSegmenter', backbone=backbone, num_classes=CLASSES, num_queries=QUERIES, num_blocks=BLOCKS, **options
    )


def detector(name, weights):
    segmenter = config_of(name) if name in SIZES else segmenter_of(dinov3_of(name))
    segmenter.pop('num_classes')
    loaded = Checkpoint.from_content(dict(state_dict=weights), 'eomt.pth')
    assert loaded.format == 'eomt'
    segmenter['masked'] = loaded.meta['switches']['segmenter.masked']
    model = MODELS.build(
        dict(
            type='DVIS',
            num_classes=CLASSES,
            segmenter=segmenter,
            tracker=dict(type='CosineTracker'),
            postprocessor=dict(type='PanopticPostprocessor', num_things=3),
            data_preprocessor=dict(type='ClipPreprocessor', divisor=16),
        )
    )
    load_weights(model, loaded)
    return model.eval()


@pytest.mark.parametrize('name', [*SIZES, *WIDTHS])
@pytest.mark.parametrize('probability', [0.0, 1.0])
@torch.no_grad()
def test_equals_the_class_of_transformers(name, probability):
    other = theirs(name, probability)
    images = torch.randn(2, 3, IMAGE, IMAGE)
    if name in WIDTHS:  # any size, which the class of transformers takes from its config
        images, other.grid_size = images[..., 32:], (IMAGE // 16, IMAGE // 16 - 2)
    expected = other(images)
    segmenter = detector(name, other.state_dict()).segmenter
    assert segmenter.masked == (probability > 0)
    queries = segmenter(images[:, None])
    masks = torch.einsum('btqm,btmhw->btqhw', queries.mask_embeds, queries.mask_features)[:, 0]
    torch.testing.assert_close(queries.class_logits[:, 0], expected.class_queries_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(masks, expected.masks_queries_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        queries.match_embeds[:, 0], expected.last_hidden_state[:, :QUERIES], atol=1e-4, rtol=1e-4
    )


def test_official_names_give_the_same_weights():
    state = theirs('mlp').state_dict()
    first, second = convert_eomt(state), convert_eomt(official_names(state, 'network'))
    assert not first.leftover and not second.leftover and first.switches == second.switches
    assert first.state_dict.keys() == second.state_dict.keys()
    assert all(torch.equal(value, second.state_dict[name]) for name, value in first.state_dict.items())


PARAMETERS = dict(small=23_975_942, base=93_663_110, large=316_695_686)  # 133 classes, table of 40, published


@pytest.mark.parametrize('arch, blocks', [('small', 3), ('base', 3), ('large', 4)])
def test_numbers_of_parameters(arch, blocks):
    backbone = dict(type='DINOv2', arch=arch, patch_size=16, table=40, registers=4, frozen=False)
    with torch.device('meta'):
        model = EoMTSegmenter(backbone, 133, num_blocks=blocks)
    channels = model.backbone.channels
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[arch] + 2 * channels  # mask token, class position


DINOV3_PARAMETERS = dict(small=(3, 23_356_934), base=(3, 92_425_094), large=(4, 315_032_710))  # published


@pytest.mark.parametrize('arch', DINOV3_PARAMETERS)
def test_numbers_of_parameters_of_dinov3(arch):
    blocks, expected = DINOV3_PARAMETERS[arch]
    with torch.device('meta'):
        model = EoMTSegmenter(dict(type='DINOv3', arch=arch), 133, num_blocks=blocks)
    assert sum(p.numel() for p in model.parameters()) == expected


def test_rotations_by_hand():
    backbone = MODELS.build(dinov3_of('wide'))  # heads of width 16
    cos, sin = backbone.rotation((3, 2))
    assert cos.shape == sin.shape == (6, 16)
    y, x = 0.0, 0.5  # the centre of the patch in the second row and second column
    frequencies = [1.0, 100**-0.25, 100**-0.5, 100**-0.75]
    angles = [2 * math.pi * value * f for value in (y, x) for f in frequencies]
    assert torch.allclose(cos[3], torch.tensor(angles * 2).cos()) and torch.allclose(
        sin[3], torch.tensor(angles * 2).sin()
    )
    token = torch.randn(1, 8, 16)  # two others, then the patches
    rotated = rotate(token, (cos, sin))
    assert torch.equal(rotated[:, :2], token[:, :2])
    for c in range(8):
        pair = complex(token[0, 5, c], token[0, 5, c + 8]) * cmath.exp(1j * angles[c])
        assert rotated[0, 5, c].item() == pytest.approx(pair.real, abs=1e-5)
        assert rotated[0, 5, c + 8].item() == pytest.approx(pair.imag, abs=1e-5)


def test_rotations_are_scaled_in_training_only():
    backbone = MODELS.build(dinov3_of('wide'))
    plain = backbone.rotation((4, 4))
    draws = [backbone.rotation((4, 4), torch.Generator().manual_seed(k))[1] for k in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], plain[1]) and torch.equal(backbone.rotation((4, 4))[1], plain[1])
    backbone.rescale = 1.0
    assert torch.equal(backbone.rotation((4, 4), torch.Generator())[1], plain[1])
    # the slowest frequency, whose angle is below pi / 2 for all factors: they lie in [1/2, 2]
    backbone.rescale = 2.0
    draws = [backbone.rotation((4, 4), torch.Generator().manual_seed(k)) for k in range(50)]
    factors = [math.asin(sin[-1, 7]) / math.asin(plain[1][-1, 7]) for _, sin in draws]
    assert 0.5 <= min(factors) < 0.7 and 1.6 < max(factors) <= 2.0


def test_official_differences_are_refused():
    official = {}
    for name, tensor in theirs('narrow').state_dict().items():
        name = re.sub(r'^layers\.', 'network.encoder.backbone.blocks.', name)
        name = re.sub(r'^embeddings\.', 'network.encoder.backbone.patch_embed.', name)
        official[re.sub(r'^upscale_block\.block', 'network.upscale', name)] = tensor
    with pytest.raises(CheckpointError, match='file.bin: official weights of EoMT with DINOv3 are differences'):
        Checkpoint.from_content(dict(state_dict=official), 'file.bin')
    gated = {'layers.0.mlp.gate_proj.weight': torch.zeros(8, 4), 'upscale_block.block.0.conv1.bias': torch.zeros(4)}
    with pytest.raises(CheckpointError, match='gated feed-forward layer and DINOv3 is not supported'):
        Checkpoint.from_content(dict(state_dict=gated), 'file.bin')


def meta_names(state):
    """The names of the official files of DINOv3 for the weights of transformers."""
    result = {'rope_embed.periods': torch.ones(2), 'mask_token': torch.zeros(1, 32)}
    for name, tensor in state.items():
        if name == 'embeddings.mask_token' or re.search(r'[kv]_proj', name):
            continue
        name = re.sub(r'^embeddings\.patch_embeddings', 'patch_embed.proj', name).replace('embeddings.', '')
        name = name.replace('register_tokens', 'storage_tokens').replace('model.layer', 'blocks')
        name = re.sub(r'layer_scale(\d).lambda1', r'ls\1.gamma', name).replace('attention.o_proj', 'attn.proj')
        name = name.replace('up_proj', 'fc1').replace('down_proj', 'fc2')
        if 'q_proj' in name:
            parts = [part for key, part in state.items() if key.endswith(name.split('.', 2)[2].replace('q_', 'v_'))]
            key = torch.full_like(tensor, 9.0)  # masked in the official code
            if name.endswith('weight'):
                key = next(v for k, v in state.items() if k.endswith('k_proj.weight'))
            else:
                result[name.replace('attention.q_proj.bias', 'attn.qkv.bias_mask')] = torch.zeros(96)
            result[name.replace('attention.q_proj', 'attn.qkv')] = torch.cat([tensor, key, parts[0]])
        else:
            result[name] = tensor
    return result


@pytest.mark.parametrize('names', [dict, meta_names], ids=['transformers', 'official'])
@torch.no_grad()
def test_pretrained_dinov3_loads_and_equals_transformers(names, tmp_path):
    torch.manual_seed(0)
    config = transformers.DINOv3ViTConfig(
        hidden_size=32, num_attention_heads=4, intermediate_size=128, num_hidden_layers=1, num_register_tokens=4,
        patch_size=16, layer_norm_eps=1e-6,
    )  # fmt: skip
    other = transformers.DINOv3ViTModel(config).eval()
    for parameter in other.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    torch.save(names(other.state_dict()), tmp_path / 'dinov3.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'dinov3.pth'))
    arch = dict(channels=32, depth=1, num_heads=4)
    backbone = MODELS.build(dict(type='DINOv3', arch=arch, init_cfg=pretrained))
    backbone.init_weights()
    images = torch.randn(2, 3, 48, 80)
    tokens, size = backbone.embed(images)
    found = backbone.norm(backbone.run(tokens, (0, 0), backbone.rotation(size)))
    torch.testing.assert_close(found, other(images).last_hidden_state, atol=1e-5, rtol=1e-5)
    again = MODELS.build(dict(type='DINOv3', arch=arch))
    again.load_state_dict(backbone.state_dict())  # its own names stay


def test_recomputing_activations_changes_no_gradient():
    loss = dict(type='QuerySetLoss', matching='frame', num_points=64)
    frames, gradients = torch.randn(1, 2, 3, 64, 64), []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        backbone = dict(dinov3_of('narrow'), checkpointing=checkpointing)
        model = MODELS.build(segmenter_of(backbone, loss=loss)).train()
        sum(model.loss(frames, [targets_of(2)], StepContext(progress=0.0, seed=3)).values()).backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


@torch.no_grad()
def test_frames_of_a_training_step_are_rotated_with_a_random_scale():
    model = MODELS.build(segmenter_of(dinov3_of('narrow')))
    for name, parameter in model.named_parameters():
        if name.endswith('gamma'):
            parameter.fill_(0.5)
    frames = torch.randn(1, 1, 3, 64, 96)
    draws = [model.decode(frames, [0.0] * BLOCKS, torch.Generator().manual_seed(k))[0][-1] for k in (0, 0, 1)]
    assert torch.equal(draws[0].class_logits, draws[1].class_logits)
    assert not torch.allclose(draws[0].class_logits, draws[2].class_logits)


@torch.no_grad()
def test_rotations_stay_precise_in_half_precision():
    backbone = MODELS.build(dinov3_of('wide'))
    tokens, size = backbone.embed(torch.randn(1, 3, 64, 96))
    rotation = backbone.rotation(size)
    expected = rotate(tokens[:, None].bfloat16().float()[..., :16], rotation)
    found = rotate(tokens[:, None].bfloat16()[..., :16], rotation)
    assert found.dtype == torch.bfloat16 and torch.equal(found, expected.bfloat16())
    with torch.autocast('cpu', torch.bfloat16):
        half = backbone.run(tokens, (0, DEPTH - 1), rotation)
    assert torch.allclose(half.float(), backbone.run(tokens, (0, DEPTH - 1), rotation), atol=0.05)


def test_attention_with_rows_that_see_less():
    torch.manual_seed(0)
    attention, x = SelfAttention(16, 4), torch.randn(2, 9, 16)
    allowed = torch.rand(2, 3, 9) > 0.4
    allowed[..., 0] = True
    whole = torch.cat([allowed, torch.ones(2, 6, 9, dtype=torch.bool)], 1)
    q, k, v = attention.qkv(x).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-1, -2) / 2).masked_fill(~whole[:, None], -torch.inf).softmax(-1)
    expected = attention.proj((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, allowed), expected, atol=1e-6, rtol=1e-5)


def test_probabilities_of_masks_fall_block_by_block():
    def at(progress):
        return mask_probabilities(progress, 2, (1 / 6, 2 / 3), 1 / 6)

    assert at(0.0) == at(1 / 6) == [1.0, 1.0] and at(1.0) == [0.0, 0.0]
    assert at(1 / 4) == pytest.approx([0.5**0.9, 1.0]) and at(1 / 3) == pytest.approx([0.0, 1.0])
    assert mask_probabilities(0.75, 1, (0.5, 1.0), 0.5) == pytest.approx([0.5**0.9])
    assert mask_probabilities(0.05, 2, (0.5, 1.0), 0.5, first_block=(0.0, 0.1)) == pytest.approx([0.5**0.9, 1.0])


@torch.no_grad()
def test_lifted_masks_and_other_tokens_are_always_allowed():
    segmenter = MODELS.build(config_of('mlp')).eval()
    layers, x, _ = segmenter.decode(torch.randn(1, 1, 3, 64, 64), [1.0, 1.0], None)
    arguments = layers[-1], (4, 4), x.shape[1]
    own = allowed_tokens(*arguments, 1.0, None)
    assert own.shape == (1, QUERIES, QUERIES + 5 + 16) and own[..., : QUERIES + 5].all() and not own.all()
    lifted = allowed_tokens(*arguments, 0.5, torch.Generator().manual_seed(0))
    is_all = lifted.all(-1)
    assert 0 < int(is_all.sum()) < QUERIES and torch.equal(lifted[~is_all], own[~is_all])


@torch.no_grad()
def test_windows_clips_and_frames_give_the_same():
    segmenter, frames = MODELS.build(config_of('mlp')).eval(), torch.randn(1, 5, 3, 64, 96)
    whole = segmenter(frames)
    for name in ('embeds', 'class_logits', 'mask_embeds', 'mask_features'):
        parts = torch.cat([getattr(segmenter(part), name) for part in frames.split(2, 1)], 1)
        torch.testing.assert_close(parts, getattr(whole, name), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        segmenter.expand(segmenter.mask_features(frames).flatten(0, 1)).unflatten(0, (1, 5)), whole.mask_features
    )
    assert whole.mask_features.shape == (1, 5, 48, 16, 24)
    tracker = MODELS.build(dict(type='CosineTracker'))
    tracks, state = tracker(whole)
    first, state = tracker(segmenter(frames[:, :2]))
    second, _ = tracker(segmenter(frames[:, 2:]), state)
    torch.testing.assert_close(cat_time([first, second]).class_logits, tracks.class_logits, atol=1e-4, rtol=1e-4)


def targets_of(frames):
    masks = torch.zeros(2, frames, 64, 64, dtype=torch.bool)
    masks[0, :, :20, :30], masks[1, :, 30:60, 20:50] = True, True
    return ClipTargets(torch.tensor([0, 3]), torch.tensor([1, 2]), masks, torch.ones(2, frames, dtype=torch.bool))


@pytest.mark.parametrize('backbone', [config_of('mlp')['backbone'], dinov3_of('narrow')], ids=['DINOv2', 'DINOv3'])
@pytest.mark.parametrize('progress', [0.0, 0.3, 1.0])
def test_every_layer_has_a_loss_and_every_parameter_a_gradient(progress, backbone):
    torch.manual_seed(0)
    loss = dict(type='QuerySetLoss', matching='frame', num_points=64)
    model = MODELS.build(segmenter_of(backbone, loss=loss)).train()
    losses = model.loss(torch.randn(1, 2, 3, 64, 64), [targets_of(2)], StepContext(progress=progress, seed=3))
    names = {f'{prefix}loss_{kind}' for prefix in ('', 'd0.', 'd1.') for kind in ('cls', 'mask', 'dice')}
    assert set(losses) == names
    sum(losses.values()).backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None and p.requires_grad]
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == [
        n for n, _ in model.named_parameters() if 'mask_token' in n
    ]
    assert not missing
    again = model.loss(torch.randn(1, 2, 3, 64, 64), [targets_of(2)], StepContext(progress=progress, seed=3))
    assert again.keys() == losses.keys()


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    loss = dict(type='QuerySetLoss', matching='frame', num_points=256)
    model, frames = MODELS.build(config_of('mlp', loss=loss)), torch.randn(1, 1, 3, 64, 64)
    frames[..., :20, :30] += 2
    frames[..., 30:60, 20:50] -= 2
    optimizer, values = torch.optim.AdamW(model.parameters(), 2e-3), []
    for step in range(40):
        optimizer.zero_grad()
        total = sum(model.loss(frames, [targets_of(1)], StepContext(progress=step / 40, iteration=step)).values())
        total.backward()
        optimizer.step()
        values.append(float(total.detach()))
    assert sum(values[-5:]) < 0.6 * sum(values[:5])


def test_a_whole_model_segments_a_video(tmp_path):
    from mmdvis.apis import VideoStream

    model = detector('mlp', theirs('mlp').state_dict())
    frames = (torch.rand(4, 3, 64, 96) * 255).to(torch.uint8)
    result = VideoStream(model, short_edge=64).push(frames)
    assert result.num_frames == 4 and result.frame(3).id_map.shape == (64, 96)
    with pytest.raises(ValueError, match='num_blocks must be at least 1 and below the 4 blocks'):
        MODELS.build(dict(config_of('mlp'), num_blocks=4))
    with pytest.raises(ValueError, match='patches must be 8, 16, 32'):
        MODELS.build(dict(config_of('mlp'), backbone=dict(config_of('mlp')['backbone'], patch_size=14)))


@pytest.mark.parametrize(
    'tracker, segmenter', [('cosine', tiny.EOMT), ('fixed', tiny.VIDEOMT)], ids=['eomt', 'videomt']
)
@torch.no_grad()
def test_mask_features_are_kept_with_the_stride_of_the_patches(tracker, segmenter):
    model = tiny.model(tracker, segmenter=segmenter, window=2).eval()
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    frames = (torch.rand(5, 3, 64, 96) * 255).byte()
    normalised = model.data_preprocessor.normalise(frames, (64, 96))[None]
    direct, _ = model.step(normalised)
    compact, _ = model.step(normalised, compact=True)
    assert direct.mask_features.shape == (1, 5, 16, 16, 24) and compact.mask_features.shape == (1, 5, 16, 8, 12)
    rows = torch.arange(tiny.QUERIES)
    for store in ('exact', 'memory', 'disk', *(['recompute'] if tracker == 'cosine' else [])):
        ((_, prediction),) = model.predictions([ArrayFrames(frames)], store)
        masks = torch.stack([prediction.masks.small(rows, t) for t in range(5)])
        expected = torch.einsum('tqm,tmhw->tqhw', direct.mask_embeds[0], direct.mask_features[0])
        torch.testing.assert_close(masks, expected, atol=2e-2 if store in ('memory', 'disk') else 1e-4, rtol=1e-2)
    ((_, prediction),) = model.predictions([ArrayFrames(frames)], 'exact')
    calls, expand = [], model.segmenter.upscale.forward
    model.segmenter.upscale.forward = lambda x: calls.append(len(x)) or expand(x)
    model.result(prediction)
    assert calls == [1] * 5  # frame by frame
    half = optimize_for_inference(tiny.model(tracker, segmenter=segmenter).eval(), 'bf16')
    ((_, prediction),) = half.predictions([ArrayFrames(frames)], 'memory')
    assert prediction.masks.small(rows, 4).isfinite().all()


@torch.no_grad()
def test_stages_that_read_mask_features_get_those_at_stride_4():
    class Reader(CosineTracker):
        reads_mask_features = True

        def forward(self, queries, state=None):
            seen.append(queries.mask_features.shape[-2:])
            return super().forward(queries, state)

    seen, model = [], tiny.model('cosine', segmenter=tiny.EOMT).eval()
    source = ArrayFrames((torch.rand(2, 3, 64, 96) * 255).byte())
    ((_, expected),) = model.predictions([source], 'exact')
    stream, _ = model.stream(source)
    model.tracker = Reader()
    ((_, found),) = model.predictions([source], 'exact')
    rows = torch.arange(tiny.QUERIES)
    assert set(seen) == {(16, 24)}
    torch.testing.assert_close(found.masks.small(rows, 1), expected.masks.small(rows, 1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(stream.masks.small(rows, 1), expected.masks.small(rows, 1), atol=1e-4, rtol=1e-4)
    tracks = cat_time([clip for clip, _ in model.propagate([source])])  # not compact, as an oracle tracker reads them
    direct = model.video_prediction(tracks, tracks, source)
    torch.testing.assert_close(direct.masks.small(rows, 1), expected.masks.small(rows, 1), atol=1e-4, rtol=1e-4)


def test_memory_of_compact_features():
    source = ArrayFrames(torch.zeros(1, 3, 64, 96, dtype=torch.uint8))
    assert memory_need(tiny.model('cosine', segmenter=tiny.EOMT), source).features == 2 * 16 * 8 * 12
    assert memory_need(tiny.model('cosine'), source).features == 2 * 16 * 16 * 24
