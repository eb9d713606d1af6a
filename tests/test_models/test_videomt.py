"""VidEoMT: equal to the class of transformers through the converter, and the same results however a video is cut."""

import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers import tiny
from helpers.commands import ROOT
from helpers.eomt import SIZES, official_names
from mmengine.config import Config

from mmdvis.checkpoints import Checkpoint, load_weights
from mmdvis.checkpoints.eomt import convert_eomt
from mmdvis.checkpoints.loading import option_conflicts, trained_options, with_trained_options
from mmdvis.checkpoints.zoo import model_entries
from mmdvis.errors import OptionError
from mmdvis.inference.export import export_model
from mmdvis.inference.offline_video import OfflineVideo, memory_need
from mmdvis.inference.recognise import fits
from mmdvis.io import ArrayFrames
from mmdvis.models.segmenters.videomt_segmenter import VidEoMTSegmenter
from mmdvis.registry import MODELS
from mmdvis.results import VideoDataSample
from mmdvis.structures import StepContext, cat_time

CLASSES, QUERIES, BLOCKS, DEPTH, IMAGE = 5, 5, 2, 4, 64
FIELDS = ('embeds', 'class_logits', 'mask_embeds', 'mask_features')


def theirs(name):
    """The model of transformers with random weights."""
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(1)
    config = transformers.VideomtConfig(
        **SIZES[name][0], num_hidden_layers=DEPTH, image_size=IMAGE, patch_size=16, num_blocks=BLOCKS,
        num_queries=QUERIES, num_labels=CLASSES, num_register_tokens=4, layerscale_value=0.7,
    )  # fmt: skip
    model = transformers.VideomtForUniversalSegmentation(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def detector(name, weights):
    backbone = dict(
        type='DINOv2',
        arch=dict(SIZES[name][1], depth=DEPTH),
        patch_size=16,
        table=IMAGE // 16,
        registers=4,
        frozen=False,
    )
    segmenter = dict(type='VidEoMTSegmenter', backbone=backbone, num_queries=QUERIES, num_blocks=BLOCKS)
    loaded = Checkpoint.from_content(dict(state_dict=weights), 'videomt.pth')
    assert loaded.format == 'eomt' and loaded.meta['switches'] == {'segmenter.normed_state': False}
    model = built(segmenter, data_preprocessor=dict(type='ClipPreprocessor', divisor=16))
    load_weights(model, loaded)
    return model.eval()


def built(segmenter=tiny.VIDEOMT, **options):
    """A detector with random weights."""
    torch.manual_seed(1)
    segmenter = {name: value for name, value in segmenter.items() if name != 'num_classes'}
    model = MODELS.build(
        dict(
            dict(
                type='DVIS',
                num_classes=CLASSES,
                segmenter=segmenter,
                tracker=dict(type='FixedTracker'),
                postprocessor=tiny.PANOPTIC,
            ),
            **options,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def video(frames, size=(64, 96), seed=0):
    return ArrayFrames((torch.rand(frames, 3, *size, generator=torch.Generator().manual_seed(seed)) * 255).byte())


@pytest.mark.parametrize('name', SIZES)
@torch.no_grad()
def test_equals_the_class_of_transformers(name):
    other, frames = theirs(name), torch.randn(2, 5, 3, IMAGE, IMAGE)
    expected = other(frames)
    model = detector(name, other.state_dict())
    whole, _ = model.segmenter(frames)
    state, steps = None, []
    for start, stop in ((0, 1), (1, 3), (3, 5)):
        tracks, state = model.step(frames[:, start:stop], state)
        steps.append(tracks)
    for queries in (whole, cat_time(steps)):
        masks = torch.einsum('btqm,btmhw->tbqhw', queries.mask_embeds, queries.mask_features).flatten(0, 1)
        logits = queries.class_logits.transpose(0, 1).flatten(0, 1)  # theirs are ordered by frame, then by video
        torch.testing.assert_close(logits, expected.class_queries_logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(masks, expected.masks_queries_logits, atol=1e-4, rtol=1e-5)
    states = expected.last_hidden_state[:, :QUERIES].unflatten(0, (5, 2)).transpose(0, 1)
    torch.testing.assert_close(whole.match_embeds, states, atol=1e-5, rtol=1e-5)
    assert (logits[2:4] - logits[:2]).abs().max() > 1e-3


def test_official_names_give_the_same_weights():
    state = theirs('mlp').state_dict()
    loaded = Checkpoint.from_content(dict(model=official_names(state, 'backbone')), 'ovis.pth')
    expected = convert_eomt(state)
    assert loaded.format == 'eomt' and loaded.meta['switches'] == expected.switches
    assert loaded.weights.keys() == expected.state_dict.keys()
    assert all(torch.equal(value, loaded.weights[name]) for name, value in expected.state_dict.items())


def test_official_names_with_dinov3():
    state = {
        'embeddings.cls_token': torch.ones(1, 1, 8),
        'embeddings.patch_embeddings.weight': torch.ones(8, 3, 16, 16),
        'layers.0.mlp.up_proj.bias': torch.ones(32),
        'query_updater.bias': torch.ones(8),
        'upscale_block.block.0.conv1.bias': torch.ones(8),
    }
    official = {}
    for name, tensor in state.items():
        name = re.sub(r'^layers\.', 'backbone.encoder.backbone.blocks.', name)
        name = re.sub(r'^embeddings\.', 'backbone.encoder.backbone.patch_embed.', name)
        name = re.sub(r'^upscale_block\.block', 'backbone.upscale', name)
        official[re.sub('^query_', 'backbone.query_', name)] = tensor
    results = [convert_eomt(weights) for weights in (state, official)]
    assert results[0].state_dict.keys() == results[1].state_dict.keys() and not results[1].leftover
    assert len(results[0].state_dict) == 5
    assert results[0].switches == results[1].switches == {'segmenter.normed_state': True}


PARAMETERS = dict(small=(3, 24_088_361), base=(3, 94_182_953), large=(4, 317_650_985))  # 40 classes, with mask_token


@pytest.mark.parametrize('arch', PARAMETERS)
def test_numbers_of_parameters(arch):
    blocks, expected = PARAMETERS[arch]
    backbone = dict(type='DINOv2', arch=arch, patch_size=16, table=40, registers=4, frozen=False)
    with torch.device('meta'):
        model = VidEoMTSegmenter(backbone, 40, num_blocks=blocks)
    # the position of the class token, which transformers does not have
    assert sum(p.numel() for p in model.parameters()) == expected + model.backbone.channels


@torch.no_grad()
def test_one_frame_equals_eomt():
    video_segmenter = built().segmenter
    image_segmenter = MODELS.build(tiny.EOMT).eval()
    weights = {name: x for name, x in video_segmenter.state_dict().items() if 'query_update' not in name}
    image_segmenter.load_state_dict(weights)
    frames = torch.randn(2, 1, 3, 64, 96)
    found, expected = video_segmenter(frames)[0], image_segmenter(frames)
    assert all(torch.equal(getattr(found, name), getattr(expected, name)) for name in FIELDS)


@pytest.mark.parametrize('normed', [False, True])
@pytest.mark.parametrize('cuts', [(0, 1, 2, 3, 4, 5, 6), (0, 4, 6), (0, 5, 6)])
@torch.no_grad()
def test_a_video_may_be_cut_anywhere(cuts, normed):
    model, frames = built(dict(tiny.VIDEOMT, normed_state=normed)), torch.randn(1, 6, 3, 64, 96)
    whole, end = model.step(frames)
    clips, state = [], None
    for start, stop in zip(cuts, cuts[1:]):
        tracks, state = model.step(frames[:, start:stop], state)
        clips.append(tracks)
    for name in FIELDS:
        torch.testing.assert_close(
            getattr(cat_time(clips), name), getattr(whole, name), atol=1e-4, rtol=1e-4, msg=lambda m: f'{name}: {m}'
        )
    torch.testing.assert_close(state.segmenter.queries, end.segmenter.queries, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_stream_equals_the_whole_video_bit_for_bit():
    model, source = built(causal=True), video(7)
    (whole,) = model.predict([source], [VideoDataSample()])
    for cuts in ((0, 3, 7), (0, 1, 2, 7)):
        state, maps = None, []
        for start, stop in zip(cuts, cuts[1:]):
            prediction, state = model.stream(ArrayFrames(source.read(start, stop)), state)
            state = pickle.loads(pickle.dumps(state))
            maps += [frame.id_map for frame in frames_of(model.result(prediction))]
        expected = [frame.id_map for frame in frames_of(result_of(whole))]
        assert len(maps) == 7 and all((a == b).all() for a, b in zip(maps, expected))
        assert any(frame.any() for frame in expected)


def result_of(sample):
    return next(iter(sample.values()))


def frames_of(result):
    return [result.frame(t) for t in range(result.num_frames)]


@torch.no_grad()
def test_two_streams_may_be_interleaved():
    model, sources = built(), [video(4, seed=1), video(4, seed=2)]
    alone = []
    for source in sources:
        state = None
        for t in range(4):
            prediction, state = model.stream(ArrayFrames(source.read(t, t + 1)), state)
        alone.append((prediction, state))
    states = [None, None]
    for t in range(4):
        for k, source in enumerate(sources):
            prediction, states[k] = model.stream(ArrayFrames(source.read(t, t + 1)), states[k])
            if t == 3:
                assert torch.equal(prediction.scores, alone[k][0].scores)
    for state, (_, expected) in zip(states, alone):
        assert torch.equal(state.chain.segmenter.queries, expected.chain.segmenter.queries)


@torch.no_grad()
def test_padding_frames_change_nothing():
    model, frames = built(), torch.randn(2, 4, 3, 64, 96)
    present = torch.tensor([[True] * 4, [True, True, False, False]])
    together, state = model.step(frames, None, present)
    alone, expected = model.step(frames[1:, :2])
    torch.testing.assert_close(together.class_logits[1:, :2], alone.class_logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(state.segmenter.queries[1:], expected.segmenter.queries, atol=1e-5, rtol=1e-5)
    _, after = model.step(frames[:, :1], state, torch.tensor([[True], [False]]))
    assert torch.equal(after.segmenter.queries[1], state.segmenter.queries[1])
    assert not torch.equal(after.segmenter.queries[0], state.segmenter.queries[0])
    with pytest.raises(ValueError, match='the first clip of a video must have at least one present frame'):
        model.step(frames, None, torch.zeros(2, 4, dtype=torch.bool))


@torch.no_grad()
def test_a_batch_of_videos_equals_one_by_one():
    model, sources = built(window=2), [video(5, seed=1), video(3, seed=2)]
    together = [result_of(sample) for sample in model.predict(sources, [VideoDataSample(), VideoDataSample()])]
    for source, result in zip(sources, together):
        (alone,) = model.predict([source], [VideoDataSample()])
        same = [(a.id_map == b.id_map).mean() for a, b in zip(frames_of(result), frames_of(result_of(alone)))]
        assert len(same) == len(source) and min(same) > 0.999


def test_features_that_depend_on_earlier_frames_are_not_recomputed(tmp_path):
    model = built()
    sentence = "store='recompute' is not possible with VidEoMTSegmenter.*use 'memory' or 'disk'"
    with pytest.raises(ValueError, match=sentence):
        model.with_options(store='recompute')
    with pytest.raises(ValueError, match=sentence):
        next(model.predictions([video(2)], 'recompute'))
    with pytest.raises(OptionError, match='cannot be computed without those of the frames before'):
        model.segmenter.mask_features(torch.zeros(1, 1, 3, 32, 32))
    with pytest.raises(OptionError, match='models with VidEoMTSegmenter cannot be exported'):
        export_model(model, tmp_path / 'graphs', (64, 96))
    scores = [next(model.predictions([video(3)], store))[1].scores for store in ('exact', 'memory', 'disk')]
    assert torch.equal(scores[0], scores[1]) and torch.equal(scores[0], scores[2])


def test_the_state_of_dinov3_is_told():
    model = built()
    assert option_conflicts(model, {'segmenter.normed_state': False}) == []
    (sentence,) = option_conflicts(model, {'segmenter.normed_state': True})
    assert 'set model.segmenter.normed_state=True' in sentence
    assert trained_options(model)['segmenter.normed_state'] is False
    weights = Checkpoint(model.state_dict(), dict(switches={'segmenter.normed_state': True}), 'x.pth', 'mmdvis')
    config = dict(type='DVIS', segmenter=tiny.VIDEOMT, tracker=dict(type='FixedTracker'))
    assert with_trained_options(config, weights)['segmenter']['normed_state'] is True
    assert 'normed_state' not in with_trained_options(dict(config, segmenter=tiny.EOMT), weights)['segmenter']


def test_position_tables_of_another_size_are_resized():
    model = built()
    weights = model.state_dict()
    table = weights['segmenter.backbone.pos_embed'].clone()
    side = {**weights, 'segmenter.backbone.pos_embed': torch.cat([table[:, :1], torch.randn(1, 16, tiny.WIDTH)], 1)}
    before = {name: x.clone() for name, x in side.items()}
    load_weights(model, Checkpoint(side, {}, 'x.pth', 'mmdvis'))
    assert model.segmenter.backbone.pos_embed.shape == (1, 37, tiny.WIDTH)
    assert all(torch.equal(x, side[name]) for name, x in before.items())  # the checkpoint is not changed
    assert not torch.equal(model.segmenter.backbone.pos_embed, table)


@pytest.mark.parametrize('path', sorted((ROOT / 'configs/videomt').glob('*.py')), ids=lambda path: path.stem)
def test_a_config_starts_from_its_first_stage(path):
    config = Config.fromfile(path)
    (first,) = (ROOT / 'configs').rglob(Path(config.load_from).parent.name + '.py')
    models = []
    for settings in (Config.fromfile(first), config):
        settings.model.segmenter.backbone.pop('init_cfg', None)
        backbone = settings.model.segmenter.backbone
        backbone.arch = dict(channels=16, depth=settings.model.segmenter.num_blocks + 1, num_heads=2, ffn='mlp')
        if backbone.type == 'DINOv3':
            backbone.arch.pop('ffn')
        models.append(MODELS.build(settings.model))
    hook = config.custom_hooks[0]
    checkpoint = Checkpoint(models[0].state_dict(), {}, 'first.pth', 'mmdvis')
    with pytest.warns(UserWarning, match='query_update'):
        load_weights(models[1], checkpoint, hook.required, hook.allow_mismatch)
    assert torch.equal(models[0].segmenter.query_feat.weight, models[1].segmenter.query_feat.weight)


def test_weights_alone_find_their_config():
    entries, found = model_entries(), {}
    for name in ('videomt-s_ytvis2019', 'videomt-b_ytvis2019', 'minvis_eomt-s_coco-panoptic', 'videomt-l_ovis'):
        config = Config.fromfile(entries[name].config).model
        config.segmenter.backbone.pop('init_cfg', None)
        with torch.device('meta'):
            found[name] = MODELS.build(config).state_dict()
    for name, weights in found.items():
        for other in found:
            assert fits(weights, Config.fromfile(entries[other].config).model) == (name == other), (name, other)


def test_features_that_fit_nowhere_are_told(monkeypatch, tmp_path):
    model, source = built(), video(3)
    need = memory_need(model, source)
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=10))
    with pytest.raises(
        ValueError, match='or 0 MB on disk, with 0 MB free; this model cannot compute mask features again'
    ):
        OfflineVideo(model, max_memory=3 * need.queries + 1, progress=False).result(source)


def test_every_layer_has_a_loss_and_every_parameter_a_gradient():
    model, frames = built().segmenter.train(), torch.randn(1, 4, 3, 64, 96, requires_grad=True)
    losses = model.loss(frames, [tiny.targets(4)], StepContext(0.0))
    assert set(losses) == {f'{p}loss_{kind}' for p in ('', 'd0.', 'd1.') for kind in ('cls', 'mask', 'dice')}
    sum(losses.values()).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None and p.requires_grad]
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ['backbone.mask_token']
    assert all(frames.grad[0, t].abs().max() > 0 for t in range(4))


def test_gradients_pass_from_frame_to_frame():
    model, frames = built().segmenter, torch.randn(1, 4, 3, 64, 96, requires_grad=True)
    model(frames)[0].class_logits[:, 3].sum().backward()
    assert frames.grad[0, 0].abs().max() > 0
    assert (model.query_update.weight.grad != 0).any()


def test_legacy_supervision():
    targets, context, frames = [tiny.targets(3)], StepContext(0.0), torch.randn(1, 3, 3, 64, 96)
    plain, legacy = built().segmenter, built(dict(tiny.VIDEOMT, legacy_supervision=True)).segmenter
    expected, found = plain.loss(frames, targets, context), legacy.loss(frames, targets, context)
    last = ('loss_cls', 'loss_mask', 'loss_dice')
    assert set(found) == {*last, *(f'd0.{name}' for name in last)}  # the input of the last block has none
    assert all(torch.equal(found[name], expected[name]) for name in last)
    options = dict(tiny.VIDEOMT, normed_state=True)
    normed, legacy_normed = built(options).segmenter, built(dict(options, legacy_supervision=True)).segmenter
    expected_normed, found_normed = (model.loss(frames, targets, context) for model in (normed, legacy_normed))
    assert all(torch.equal(found_normed[name], expected_normed[name]) for name in found_normed)
    plain.backbone.norm = torch.nn.Identity()  # the first layer's heads read the tokens as they are
    assert torch.equal(plain.loss(frames, targets, context)['d0.loss_cls'], found['d0.loss_cls'])


def test_a_refiner_learns_behind_it():
    model = built(refiner={k: v for k, v in tiny.REFINER.items() if k != 'num_classes'}).train()
    assert model.trainable == ('refiner',)
    sample = VideoDataSample()
    sample.gt_targets = tiny.targets(3)
    losses = model.loss(torch.randn(1, 3, 3, 64, 96), [sample])
    sum(losses.values()).backward()
    assert not [name for name, p in model.refiner.named_parameters() if p.grad is None]
    assert model.segmenter.query_update.weight.grad is None
    with torch.no_grad():
        whole = model.segmenter(torch.zeros(1, 3, 3, 64, 96))[0]
        assert torch.equal(model.forward_stage('segmenter', torch.zeros(1, 3, 3, 64, 96)).embeds, whole.embeds)
    assert not torch.equal(whole.embeds[:, 0], whole.embeds[:, 1])  # frames of a clip are not processed on their own


def test_training_lowers_the_loss():
    torch.manual_seed(0)
    model, frames = MODELS.build(tiny.VIDEOMT), torch.randn(1, 3, 3, 64, 96)
    targets = [tiny.targets(3)]
    optimizer, values = torch.optim.AdamW(model.parameters(), 2e-3), []
    for step in range(30):
        optimizer.zero_grad()
        total = sum(model.loss(frames, targets, StepContext(progress=step / 30, iteration=step)).values())
        total.backward()
        optimizer.step()
        values.append(float(total.detach()))
    assert sum(values[-5:]) < 0.7 * sum(values[:5])
