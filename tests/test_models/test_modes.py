"""Online, causal, offline and semi-online inference with the options of one detector."""

import pytest
import torch
from helpers import tiny
from helpers.commands import DATA
from torch import nn

from mmdvis.io import ArrayFrames
from mmdvis.registry import MODELS
from mmdvis.results import VideoDataSample
from mmdvis.structures import FrameQueries, cat_time
from mmdvis.testing.parity.dvis import Fixture

SEMANTIC = dict(type='SemanticPostprocessor')


@pytest.fixture(scope='module')
def fixture():
    """Fixture of a small official model whose results have several segments."""
    return Fixture.read(DATA / 'parity' / 'dvis_swin')


def predict(model, source):
    return model.predict([source], [VideoDataSample()])[0]


def changed_from(source, frame):
    """Return the video with random frames from ``frame`` on."""
    frames = source.frames.clone()
    frames[frame:] = torch.randint(0, 256, frames[frame:].shape, dtype=torch.uint8)
    return ArrayFrames(frames, source.original)


@pytest.mark.parametrize('system, clip_len', [('DVIS_online', None), ('DVIS_online', 2), ('DVIS_offline', 1)])
@pytest.mark.parametrize('window', [1, 7])
def test_no_bit_of_a_causal_result_depends_on_the_future(fixture, system, clip_len, window):
    for task, name in (('vps', 'pred_panoptic'), ('vss', 'pred_semantic')):
        model = fixture.model(system, task, causal=True, clip_len=clip_len, window=window)
        maps = [
            torch.as_tensor(getattr(getattr(predict(model, video), name), 'id_map' if task == 'vps' else 'label_map'))
            for video in (fixture.source, *(changed_from(fixture.source, t) for t in (1, 4, 6)))
        ]
        for t, other in zip((1, 4, 6), maps[1:]):
            assert torch.equal(maps[0][:t], other[:t])
        assert not torch.equal(maps[0], maps[1])


def test_a_refiner_sees_the_future_of_its_clip_and_no_more(fixture):
    model = fixture.model('DVIS_offline', 'vps', causal=True, clip_len=3)
    before, after = (predict(model, video).pred_panoptic for video in (fixture.source, changed_from(fixture.source, 3)))
    assert torch.equal(before.id_map[:3], after.id_map[:3]) and not torch.equal(before.id_map[3:], after.id_map[3:])
    assert before.by_frame[:3] == after.by_frame[:3]
    model = fixture.model('DVIS_offline', 'vps', causal=True)
    before, after = (predict(model, video).pred_panoptic for video in (fixture.source, changed_from(fixture.source, 3)))
    assert before.by_frame[:3] != after.by_frame[:3]


def test_the_benchmark_mean_does_depend_on_the_future(fixture):
    """Without causal=True the result depends on later frames, so the causal tests are not vacuous."""
    model = fixture.model('DVIS_online', 'vps')
    scores = [
        tuple(s.score for s in predict(model, video).pred_panoptic.segments)
        for video in (fixture.source, changed_from(fixture.source, 4))
    ]
    assert scores[0] != scores[1]


@pytest.mark.parametrize('system', ['DVIS_online', 'DVIS_offline'])
def test_a_causal_prediction_is_what_a_stream_gives(fixture, system):
    """This holds frame by frame for an online model, and clip by clip with a refiner."""
    model, source = fixture.model(system, 'vps', causal=True, clip_len=2), fixture.source
    whole, maps, state = predict(model, source).pred_panoptic, [], None
    for start in range(0, len(source), 2):
        part = ArrayFrames(source.frames[start : start + 2], source.original)
        prediction, state = model.stream(part, state)
        maps.append(model.postprocessor(prediction).id_map)
    assert torch.equal(whole.id_map, torch.cat(maps))


@pytest.mark.parametrize('task', ['vps', 'vis', 'vss'])
@pytest.mark.parametrize('clip_len', [7, 8, 100])
def test_one_clip_for_the_whole_video_is_offline(fixture, task, clip_len):
    offline, semi = (predict(fixture.model('DVIS_offline', task, clip_len=n), fixture.source) for n in (None, clip_len))
    if task == 'vps':
        assert torch.equal(offline.pred_panoptic.id_map, semi.pred_panoptic.id_map)
        assert offline.pred_panoptic.segments == semi.pred_panoptic.segments
    elif task == 'vis':
        torch.testing.assert_close(offline.pred_instances.scores, semi.pred_instances.scores, atol=1e-4, rtol=1e-4)
        assert offline.pred_instances.masks == semi.pred_instances.masks
    else:
        assert (offline.pred_semantic.label_map == semi.pred_semantic.label_map).all()


@torch.no_grad()
@pytest.mark.parametrize('clip_len', [1, 3])
def test_clips_are_refined_by_themselves(fixture, clip_len):
    """The refiner processes each clip separately, even if a clip has one frame."""
    model, source = fixture.model('DVIS_offline', 'vps', clip_len=clip_len), fixture.source
    tracks = cat_time([clip for clip, _ in model.propagate([source])])
    alone = [model.refiner(tiny.part(tracks, t, min(t + clip_len, 7))) for t in range(0, 7, clip_len)]
    refined = model.refine(tracks)
    for name in ('class_logits', 'mask_embeds', 'embeds'):
        torch.testing.assert_close(getattr(refined, name), torch.cat([getattr(clip, name) for clip in alone], 1))
    assert (refined.class_logits[:, 0] != refined.class_logits[:, -1]).any()  # every clip has separate class logits


def test_a_video_that_ends_before_the_others_clips(fixture):
    """In a batch, a clip may consist entirely of padding of the shorter video."""
    model = fixture.model('DVIS_offline', 'vps', clip_len=2)
    short = ArrayFrames(fixture.source.frames[:3], fixture.source.original)
    together = model.predict([fixture.source, short], [VideoDataSample(), VideoDataSample()])
    for video, result in zip((fixture.source, short), together):
        alone = predict(model, video).pred_panoptic
        assert (alone.id_map == result.pred_panoptic.id_map).float().mean() > 0.9995
        assert [s.row for s in alone.segments] == [s.row for s in result.pred_panoptic.segments]


@pytest.mark.parametrize(
    'name, meaning', [('window', 'a default that depends on the device'), ('clip_len', 'the whole video')]
)
def test_lengths_are_positive(name, meaning):
    with pytest.raises(ValueError, match=f'{name} must be at least one frame, got 0; {name}=None means {meaning}'):
        tiny.model(**{name: 0})


def test_tracks_are_not_cut_into_nothing():
    with pytest.raises(ValueError, match='a clip must have at least one frame, got -1; None means the whole video'):
        tiny.model('dvis', True).eval()(torch.randn(1, 1, 3, 32, 32)).clips(-1)


class Shuffler(nn.Module):
    """Segmenter of a static scene whose query order differs in every frame.

    The value of the first pixel is the frame number.
    """

    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(5)
        self.objects = nn.Parameter(torch.randn(tiny.QUERIES, tiny.WIDTH, generator=g))
        self.features = torch.randn(tiny.WIDTH, 16, 24, generator=g)

    def forward(self, frames, present=None):
        number = [int(x) for x in frames[0, :, 0, 0, 0]]
        order = torch.stack([torch.randperm(tiny.QUERIES, generator=torch.Generator().manual_seed(n)) for n in number])
        embeds = self.objects[order][None]
        logits = torch.zeros(*embeds.shape[:3], tiny.CLASSES + 1)
        return FrameQueries(
            embeds,
            embeds,
            logits,
            torch.zeros_like(embeds),
            self.features.expand(1, len(number), -1, -1, -1),
            torch.ones(1, len(number), dtype=torch.bool),
        )


def rows_apart(refiner):
    """Disable all interaction between rows of a refiner, so that row q depends on object q only."""
    for layer in refiner.layers:
        for part in (layer.time_attn, layer.object_attn, layer.cross_attn):
            nn.init.zeros_(part.out_proj.weight)
        nn.init.zeros_(layer.conv[2].weight)


@torch.no_grad()
def test_identities_survive_the_cut_between_clips_by_the_state():
    model = tiny.model(
        'cosine',
        True,
        postprocessor=dict(tiny.PANOPTIC, score_thr=0.0, overlap_thr=0.0),
        clip_len=3,
        data_preprocessor=dict(type='ClipPreprocessor', mean=(0, 0, 0), std=(1, 1, 1)),
    ).eval()
    model.segmenter = Shuffler()
    rows_apart(model.refiner)
    nn.init.normal_(model.refiner.cls_embed.weight)
    frames = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 3, 64, 96)
    result = predict(model, ArrayFrames(frames)).pred_panoptic
    assert len(result.id_map.unique()) > 2
    assert all(torch.equal(result.id_map[0], other) for other in result.id_map[1:])
    first, state = model.stream(ArrayFrames(frames[:3]))
    maps = []
    for carried in (state, None):
        second, _ = model.stream(ArrayFrames(frames[3:]), carried)
        maps.append([model.postprocessor(p).id_map for p in (first, second)])
    assert torch.equal(maps[0][0][-1], maps[0][1][0])
    assert not torch.equal(maps[1][0][-1], maps[1][1][0])  # without the state the ids of the second clip differ


def test_semantic_maps_may_follow_the_panoptic_result(fixture):
    """Segments give their class, void pixels use the official vote (PVUW 2024)."""
    panoptic = dict(
        type='PanopticPostprocessor',
        num_things=5,
        score_thr=fixture.info['test']['object_mask_threshold'],
        overlap_thr=fixture.info['test']['overlap_threshold'],
    )
    for causal in (False, True):
        around = fixture.model('DVIS_offline', 'vss', dict(SEMANTIC, around=panoptic), causal=causal)
        ((_, prediction),) = around.predictions([fixture.source])
        result, labels = MODELS.build(panoptic)(prediction), around.postprocessor(prediction).label_map
        plain = predict(fixture.model('DVIS_offline', 'vss', causal=causal), fixture.source).pred_semantic.label_map
        void = (result.id_map == 0).numpy()
        assert labels.dtype == 'uint8' and 0 < void.mean() < 1
        assert (labels[void] == plain[void]).all() and (labels != plain).any()
        for t in range(7):
            for segment in result.segments_at(t):
                assert (labels[t][(result.id_map[t] == segment.id).numpy()] == segment.label).all()
