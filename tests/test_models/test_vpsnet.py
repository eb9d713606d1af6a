"""VPSNet as a whole: parameters, losses and gradients, streams, states and results."""

import copy
import itertools

import numpy as np
import pytest
import torch
from helpers import tiny_vpsnet as tiny
from helpers.commands import ROOT
from helpers.configs import load_config
from mmengine.logging import MessageHub

from mmdvis.apis import OfflineVideo, VideoStream, segment_video
from mmdvis.io import ArrayFrames
from mmdvis.registry import MODELS
from mmdvis.results import VideoDataSample

FULL = dict(flow=dict(type='DISFlow'))
VARIANTS = dict(
    base=dict(fuse=dict(type='TemporalFuse', align=False, attend=False)),
    fuse=dict(fuse=dict(type='TemporalFuse'), **FULL),
    track=dict(tracking=dict(head=dict(type='TrackEmbedHead'), associator=dict(type='AffinityAssociator')), **FULL),
    fusetrack=dict(
        fuse=dict(type='TemporalFuse'),
        tracking=dict(head=dict(type='TrackEmbedHead'), associator=dict(type='AffinityAssociator')),
        **FULL,
    ),
)
PARAMETERS = {  # from the dimensions that paper and released code give
    (8, 19): dict(base=45_155_529, fuse=48_292_715, track=59_051_209, fusetrack=62_188_395),
    (10, 23): dict(base=45_168_345, fuse=48_305_531, track=59_064_025, fusetrack=62_201_211),
}


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('things, classes', PARAMETERS)
def test_parameters(variant, things, classes):
    settings = load_config(ROOT / 'configs' / '_base_' / 'models' / 'vpsnet.py').model
    settings.update(num_classes=classes, **VARIANTS[variant])
    settings.panoptic.num_things = things
    settings.detector.backbone.frozen_stages = -1
    with torch.device('meta'):
        model = MODELS.build(settings)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[things, classes][variant]


LOSSES = {'loss_rpn_cls', 'loss_rpn_bbox', 'loss_cls', 'loss_bbox', 'loss_mask', 'loss_segm', 'loss_pano'}


@pytest.mark.parametrize('empty', [(), (1,), (0, 1)], ids=['objects', 'one without', 'none'])
@pytest.mark.parametrize('tracking', ['rank', 'affinity', 'raw'])
def test_losses_and_gradients(tracking, empty):
    model = tiny.model(tracking=tracking).train()
    inputs, samples = tiny.clip(empty=empty)
    losses = model.loss(inputs, samples)
    assert set(losses) == LOSSES | {'acc'} | ({'loss_match'} if tracking != 'rank' else set())
    total, _ = model.parse_losses(losses)
    total.backward()
    assert total.isfinite()
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing


@pytest.mark.parametrize('references', [1, 2, 3])
def test_several_references(references):
    model = tiny.model(fuse=dict(tiny.FUSE, num_references=references)).train()
    losses = model.loss(*tiny.clip(num_frames=references + 1))
    assert all(torch.as_tensor(value).isfinite().all() for value in itertools.chain(*map(as_list, losses.values())))
    model.eval()
    result, state = model.stream(ArrayFrames(tiny.video(5)))
    assert len(state.references) == references and result.num_frames == 5


def as_list(value):
    return value if isinstance(value, list) else [value]


def test_one_frame_is_its_own_reference_unless_it_is_to_be_tracked():
    model = tiny.model(tracking='rank').train()
    assert 'loss_pano' in model.loss(*tiny.clip(num_frames=1))
    with pytest.raises(
        ValueError, match='a track head learns from clips of at least two frames, got one; set num_frames=2'
    ):
        tiny.model().train().loss(*tiny.clip(num_frames=1))


def test_training_uses_the_flow_of_the_samples():
    model = tiny.model(flow='ZeroFlow').train()
    inputs, samples = tiny.clip()
    assert not model.training_flows(inputs, samples).any()
    for sample in samples:
        flow = torch.zeros(inputs.shape[1] - 1, 2, *inputs.shape[-2:])
        flow[:, 0], flow[:, 1] = 8, -4
        sample.set_field(flow, 'flows')
    flows = model.training_flows(inputs, samples)
    assert flows.shape == (len(inputs), inputs.shape[1] - 1, 2, inputs.shape[-2] // 4, inputs.shape[-1] // 4)
    assert (flows[:, :, 0] == 2).all() and (flows[:, :, 1] == -1).all()
    assert torch.isfinite(model.loss(inputs, samples)['loss_pano'])


def test_the_track_head_may_learn_from_fused_references():
    model = tiny.model().eval()
    inputs, _ = tiny.clip(num_frames=3)
    raw = [model.pyramid(frames) for frames in inputs.unbind(1)]
    assert model.track_references(raw, inputs)[1] is raw[2]
    model.track_reference = 'fused'
    for t, fused in enumerate(model.track_references(raw, inputs), 1):
        flows = torch.stack([model.estimated_flows(clip[None, [t, 0]])[0] for clip in inputs])
        expected = model.fuse(raw[t], raw[:1], flows)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(fused, expected))
        assert not torch.allclose(fused[0], raw[t][0], atol=1e-3)


def test_fused_references_change_the_loss_of_the_track_head_only():
    inputs, samples = tiny.clip()
    trackings = [dict(tiny.TRACKING['affinity'], reference=reference) for reference in ('raw', 'fused')]
    models = [tiny.model(tracking=tracking).train() for tracking in trackings]
    first, second = (model.loss(inputs, samples) for model in models)
    changed = [name for name in first if not torch.equal(as_tensor(first[name]), as_tensor(second[name]))]
    assert changed == ['loss_match'] and second['loss_match'].isfinite()


def test_fused_references_are_not_fused_along_other_flow():
    model = tiny.model(tracking=dict(tiny.TRACKING['affinity'], reference='fused')).train()
    inputs, samples = tiny.clip()
    for sample in samples:
        sample.set_field(torch.zeros(1, 2, *inputs.shape[-2:]), 'flows')
    with pytest.raises(ValueError, match='LoadFlow does not read; leave out augment.flow'):
        model.loss(inputs, samples)


def as_tensor(value):
    return torch.stack([torch.as_tensor(item) for item in as_list(value)])


def test_a_resumed_run_draws_the_same_samples():
    """The samplers draw from generators that depend on the iteration; the global ones are not touched."""
    model, (inputs, samples) = tiny.model().train(), tiny.clip()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    hub = MessageHub.get_current_instance()
    hub.update_info('iter', 7)
    hub.update_info('max_iters', 10)
    hub.update_info('seed', 3)
    try:
        torch.manual_seed(0)
        np.random.seed(0)
        first = model.loss(inputs, samples)
        after = torch.rand(1), np.random.rand()
        torch.manual_seed(0)
        np.random.seed(0)
        assert (torch.rand(1), np.random.rand()) == after
        torch.manual_seed(99)
        second = model.loss(inputs, samples)
        hub.update_info('iter', 8)
        third = model.loss(inputs, samples)
    finally:
        for name in ('iter', 'max_iters', 'seed'):
            hub.runtime_info.pop(name, None)
    for name in ('loss_cls', 'loss_bbox', 'loss_mask', 'loss_match'):
        assert torch.equal(torch.as_tensor(first[name]), torch.as_tensor(second[name])), name
    assert not torch.equal(first['loss_cls'], third['loss_cls'])


def test_only_the_named_parts_learn():
    model = tiny.model(tracking='raw', trainable=('track_head',)).train()
    total, _ = model.parse_losses(model.loss(*tiny.clip()))
    total.backward()
    learning = {name.split('.')[0] for name, p in model.named_parameters() if p.grad is not None}
    assert learning == {'track_head'} == {name.split('.')[0] for name, p in model.named_parameters() if p.requires_grad}
    assert not model.backbone.training and model.track_head.training
    assert [name for name, _ in model.frozen_stages()] == [name for name in model.parts() if name != 'track_head']


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(flow=None), 'align and mask overlaps need optical flow; set flow'),
        (dict(tracking=dict(tiny.TRACKING['raw'], feature='both')), "feature must be 'fused' or 'raw', got 'both'"),
        (dict(tracking=dict(tiny.TRACKING['raw'], reference='no')), "reference must be 'fused' or 'raw', got 'no'"),
        (dict(tracking=dict(tiny.TRACKING['raw'], reference='fused')), "requires fuse and tracking.feature='fused'"),
        (dict(fuse=dict(tiny.FUSE, gather='max')), "gather must be 'sum' or 'mean', got 'max'"),
        (dict(fuse=dict(tiny.FUSE, warp='thrice')), "warp must be 'once' or 'twice'"),
    ],
)
def test_parts_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        tiny.model(**options)


def test_missing_parts_are_named():
    settings = load_config(ROOT / 'configs' / '_base_' / 'models' / 'vpsnet_toy.py').model
    settings.detector.pop('semantic_head')
    with pytest.raises(ValueError, match='semantic_head and proposals, but semantic_head is missing'):
        MODELS.build(dict(settings, num_classes=5, panoptic=dict(num_things=3)))


# -------------------------------------------------------------------------------------------------------- inference


def maps_of(model, frames, cuts=(), state=None):
    """Id maps of a video that is cut into pushes."""
    maps = []
    for start, stop in itertools.pairwise([0, *cuts, len(frames)]):
        result, state = model.stream(ArrayFrames(frames[start:stop]), state)
        maps.append(result.id_map)
    return torch.cat(maps), state


@pytest.mark.parametrize('tracking', tiny.TRACKING)
def test_a_stream_equals_the_video_however_it_is_cut(tracking):
    model, frames = tiny.model(tracking=tracking).eval(), tiny.video()
    whole, state = maps_of(model, frames)
    assert len(whole.unique()) > 3 and state.num_frames == 6
    for cuts in ((1,), (3,), (1, 2, 3, 4, 5)):
        assert torch.equal(maps_of(model, frames, cuts)[0], whole)
    (sample,) = model.predict([ArrayFrames(frames)], [VideoDataSample()])
    assert torch.equal(sample.pred_panoptic.id_map, whole)


def test_the_features_of_a_frame_depend_on_the_frame_before():
    model, frames, fused = tiny.model().eval(), tiny.video(2), []
    model.fuse.register_forward_hook(lambda neck, inputs, outputs: fused.append(outputs[0]))
    for first in (frames[0], frames[0], 255 - frames[0]):
        model.stream(ArrayFrames(torch.stack([first, frames[1]])))
    assert len(fused) == 6
    assert torch.equal(fused[1], fused[3]) and not torch.allclose(fused[1], fused[5])


@pytest.mark.parametrize('tracking', tiny.TRACKING)
def test_two_videos_may_be_interleaved(tracking):
    model, videos = tiny.model(tracking=tracking).eval(), [tiny.video(4, seed=k) for k in range(2)]
    expected, states, maps = [maps_of(model, video)[0] for video in videos], [None, None], [[], []]
    for t in range(4):
        for k, video in enumerate(videos):
            result, states[k] = model.stream(ArrayFrames(video[t : t + 1]), states[k])
            maps[k].append(result.id_map)
    assert all(torch.equal(torch.cat(found), whole) for found, whole in zip(maps, expected))


@pytest.mark.parametrize('tracking', tiny.TRACKING)
def test_a_state_is_saved_and_loaded(tracking, tmp_path):
    model, frames = tiny.model(tracking=tracking).eval(), tiny.video()
    whole, _ = maps_of(model, frames)
    _, state = maps_of(model, frames[:3])
    torch.save(state, tmp_path / 'state.pt')
    loaded = torch.load(tmp_path / 'state.pt', weights_only=False)
    assert torch.equal(maps_of(model, frames[3:], state=loaded)[0], whole[3:])


def test_later_frames_change_nothing():
    model, frames = tiny.model().eval(), tiny.video()
    other = torch.cat([frames[:3], 255 - frames[3:]])
    assert torch.equal(maps_of(model, frames)[0][:3], maps_of(model, other)[0][:3])


def test_a_state_is_never_changed():
    model, frames = tiny.model().eval(), tiny.video()
    _, state = maps_of(model, frames[:2])
    before = copy.deepcopy(state)
    maps_of(model, frames[2:], state=state)
    assert torch.equal(before.tracks.numbers, state.tracks.numbers)
    assert torch.equal(before.tracks.masks, state.tracks.masks) and before.num_frames == state.num_frames == 2
    assert torch.equal(before.references[0][1][0], state.references[0][1][0])


@pytest.mark.parametrize('tracking', tiny.TRACKING)
def test_a_video_without_objects(tracking):
    model = tiny.model(tracking=tracking, score_thr=1.1).eval()
    result, _ = model.stream(ArrayFrames(tiny.video(3)))
    assert not any(segment.is_thing for segment in result.segments)
    assert set(result.id_map.unique().tolist()) <= {1, 2}


@pytest.mark.parametrize('tracking', ['affinity', 'flow_iou', 'rank'])
def test_ids_have_one_class_for_ever(tracking):
    model = tiny.model(tracking=tracking).eval()
    result, _ = model.stream(ArrayFrames(tiny.video()))
    labels = {}
    for t in range(result.num_frames):
        for segment in result.segments_at(t):
            assert labels.setdefault(segment.id, segment.label) == segment.label and segment.id < 1 << 24
            assert segment.is_thing == (segment.label < tiny.THINGS) and 0 <= segment.score <= 1
            if not segment.is_thing:
                assert segment.id == 1 + segment.label - tiny.THINGS
        assert set(result.maps[t].unique().tolist()) - {0} <= set(labels)


def test_results_have_the_size_of_the_source():
    model, frames = tiny.model().eval(), tiny.video(2)
    result, _ = model.stream(ArrayFrames(frames, original=(120, 180)))
    assert result.id_map.shape == (2, 120, 180)
    small, _ = model.stream(ArrayFrames(frames))
    agreement = (result.id_map[:, ::2, ::2] == small.id_map).float().mean()
    assert agreement > 0.7  # of noise, whose classes change from pixel to pixel


def test_the_public_api_takes_it(tmp_path):
    model, source = tiny.model().eval(), ArrayFrames(tiny.video(4), fps=5.0)
    kinds = ['video', 'json', 'masks', 'csv', 'coco', 'html']
    written = segment_video(VideoStream(model, clip_len=2), source, tmp_path / 'online', progress=False, save=kinds)
    other = segment_video(OfflineVideo(model, progress=False), source, tmp_path / 'offline', progress=False, save=kinds)
    assert set(written) == set(other) >= {'video.mp4', 'viewer.html', 'panoptic'}
    assert (tmp_path / 'online/result.json').read_text() == (tmp_path / 'offline/result.json').read_text()
