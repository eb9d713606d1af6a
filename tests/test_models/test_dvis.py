"""The DVIS detector: frozen stages, losses, windows, batches and streams."""

import pytest
import torch
from helpers import tiny
from mmengine.logging import MessageHub

from mmdvis.io import ArrayFrames
from mmdvis.models.detectors.clip_preprocessor import ClipPreprocessor
from mmdvis.models.detectors.options import iteration_context
from mmdvis.results import VideoDataSample
from mmdvis.structures import cat_time

SETUPS = [('cosine', False), ('dvis', False), ('dvis_first_frame', True)]


def source(num_frames=5, size=(60, 90), seed=0):
    g = torch.Generator().manual_seed(seed)
    return ArrayFrames(torch.randint(0, 256, (num_frames, 3, *size), generator=g, dtype=torch.uint8))


def samples(targets):
    result = []
    for target in targets:
        sample = VideoDataSample()
        sample.set_field(target, 'gt_targets')
        result.append(sample)
    return result


def train_steps(model, number=2, num_frames=3, objects=((2, 0), (4, 1), (0, 2))):
    """Run SGD steps and return the names of the trainable parameters without a gradient."""
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.0)
    for _ in range(number):
        optimizer.zero_grad()
        frames = torch.randn(1, num_frames, 3, 64, 96)
        losses = model(frames, samples([tiny.targets(num_frames, objects=objects)]), mode='loss')
        sum(losses.values()).backward()
        optimizer.step()
    return [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize('tracker, refiner', SETUPS)
@pytest.mark.parametrize('objects', [((2, 0), (4, 1)), ()], ids=['objects', 'no objects'])
def test_gradients_reach_the_learning_stage_and_only_it(tracker, refiner, objects):
    model = tiny.model(tracker, refiner)
    last = 'refiner' if refiner else 'segmenter' if tracker == 'cosine' else 'tracker'
    assert model.trainable == (last,)
    assert train_steps(model, 1, objects=objects) == []
    with_gradient = {name.split('.')[0] for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == {last}


@pytest.mark.parametrize('tracker, refiner', SETUPS[1:])
def test_frozen_weights_and_statistics_stay(tracker, refiner):
    model = tiny.model(tracker, refiner)
    frozen = [name for name, _ in model.frozen_stages()]
    before = {k: v.clone() for k, v in model.state_dict().items()}
    train_steps(model)
    after = model.state_dict()
    changed = {k.split('.')[0] for k in before if not torch.equal(before[k], after[k])}
    assert changed == set(model.trainable) and not changed & set(frozen)
    assert any('running_mean' in k for k in before)
    assert all(not m.training for name in frozen for m in getattr(model, name).modules())


def test_a_frozen_segmenter_sees_frame_by_frame_what_it_sees_at_once():
    model, lengths = tiny.model('dvis').train(), []
    model.segmenter.register_forward_pre_hook(lambda module, given: lengths.append(given[0].shape[1]))
    frames, given = torch.randn(2, 3, 3, 64, 96), samples([tiny.targets(3)] * 2)
    losses = model(frames, given, mode='loss')
    assert lengths == [1, 1, 1]
    with torch.no_grad():
        whole = model.segmenter(frames)
    targets = [sample.gt_targets for sample in given]
    expected = model.tracker.loss(whole, targets, iteration_context())
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-5)


def test_a_learning_segmenter_updates_its_statistics():
    model = tiny.model('cosine')
    before = model.segmenter.backbone.bn1.running_mean.clone()
    train_steps(model, 1)
    assert not torch.equal(before, model.segmenter.backbone.bn1.running_mean)


def test_several_stages_may_learn():
    model = tiny.model('dvis', trainable=('tracker', 'segmenter'))
    assert model.trainable == ('segmenter', 'tracker') and model.frozen_stages() == []
    losses = model(torch.randn(1, 2, 3, 64, 96), samples([tiny.targets(2)]), mode='loss')
    assert {name.split('.')[0] for name in losses} == {'segmenter', 'tracker'}
    assert train_steps(model, 1) == []


@pytest.mark.parametrize('learns', ['refiner', (), ('tracker', 'head')])
def test_what_cannot_learn_is_refused(learns):
    with pytest.raises(ValueError, match=r"'last' or names of stages with parameters \(segmenter, tracker\)"):
        tiny.model('dvis', trainable=learns)


@pytest.mark.parametrize('tracker, refiner', SETUPS)
def test_window_is_a_memory_knob_only(tracker, refiner):
    results = []
    for window in (1, 2, 5):
        model = tiny.model(tracker, refiner, window=window).eval()
        results.append(model.predict([source()], [VideoDataSample()])[0].pred_panoptic)
    for other in results[1:]:
        assert (results[0].id_map != other.id_map).float().mean() < 1e-3
        assert [s.row for s in results[0].segments] == [s.row for s in other.segments]


@pytest.mark.parametrize('tracker, refiner', SETUPS)
def test_a_batch_of_videos_equals_one_by_one(tracker, refiner):
    model = tiny.model(tracker, refiner).eval()
    # two videos have the same padded size, the third differs
    videos = [source(5, seed=1), source(2, seed=2), source(4, (40, 50), seed=3)]
    together = model.predict(videos, [VideoDataSample() for _ in videos])
    for video, result in zip(videos, together):
        alone = model.predict([video], [VideoDataSample()])[0].pred_panoptic
        assert result.pred_panoptic.id_map.shape == (len(video), *video.size)
        assert (result.pred_panoptic.id_map != alone.id_map).float().mean() < 1e-3


def test_a_window_without_a_frame_is_refused():
    with pytest.raises(ValueError, match='window must be at least one frame, got 0'):
        tiny.model(window=0)


def test_videos_of_different_sizes_do_not_go_together():
    with pytest.raises(ValueError, match=r'the same padded size, got \[\(32, 64\), \(64, 96\)\]'):
        next(tiny.model().propagate([source(2), source(2, (20, 40))]))


def test_a_prediction_needs_a_postprocessor():
    model = tiny.model().eval()
    model.postprocessor = None
    with pytest.raises(ValueError, match='needs a postprocessor to predict'):
        model.predict([source(2)], [VideoDataSample()])


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be 'loss', 'predict' or 'tensor', got 'train'"):
        tiny.model()(None, mode='train')


def test_tensor_mode_gives_refined_tracks():
    tracks = tiny.model('dvis', True).eval()(torch.randn(1, 3, 3, 64, 96))
    assert tracks.class_logits.shape == (1, 3, tiny.QUERIES, tiny.CLASSES + 1)


def test_without_frames_of_the_future():
    """Causal results of a frame do not depend on later frames."""
    model, video = tiny.model('dvis').eval(), source(6)
    whole, _ = model.stream(video)
    first, state = model.stream(ArrayFrames(video.frames[:2]))
    second, _ = model.stream(ArrayFrames(video.frames[2:]), state)
    torch.testing.assert_close(whole.scores, torch.cat([first.scores, second.scores]), atol=1e-5, rtol=1e-4)
    maps = [model.postprocessor(p).id_map for p in (whole, first, second)]
    assert (maps[0] != torch.cat(maps[1:])).float().mean() < 1e-3


def test_causal_scores_are_those_of_the_mean_logits_so_far():
    model, video = tiny.model('dvis').eval(), source(4)
    prediction, state = model.stream(video)
    tracks = cat_time([clip for clip, _ in model.propagate([video])])
    for t in range(4):
        expected = tracks.class_logits[0, : t + 1].mean(0).softmax(-1)
        torch.testing.assert_close(prediction.scores[t], expected, atol=1e-5, rtol=1e-4)
    assert state.num_frames == 4


def test_a_stream_of_one_clip_ends_with_the_scores_of_the_whole_video():
    model, video = tiny.model('dvis_first_frame', True).eval(), source(4)
    prediction, _ = model.stream(video)
    tracks = cat_time([clip for clip, _ in model.propagate([video])])
    whole = model.video_prediction(tracks, model.refine(tracks), video)
    torch.testing.assert_close(prediction.scores[-1], whole.scores, atol=1e-5, rtol=1e-4)


def test_the_guided_half_follows_the_runner():
    hub = MessageHub.get_instance('test_guided_half')
    assert iteration_context().progress == 1.0
    for iteration, progress in ((0, 0.0), (9, 0.45), (10, 0.5)):
        for name, value in (('iter', iteration), ('max_iters', 20), ('seed', 5)):
            hub.update_info(name, value)
        context = iteration_context()
        assert (context.progress, context.seed, context.iteration) == (progress, 5, iteration)
    for name in ('iter', 'max_iters', 'seed'):
        hub.pop_info(name)


def test_preprocessor_normalises_then_pads():
    preprocessor = ClipPreprocessor(mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0))
    frames = torch.full((2, 3, 33, 40), 30, dtype=torch.uint8)
    out = preprocessor.normalise(frames, preprocessor.padded((33, 40)))
    assert out.shape == (2, 3, 64, 64)
    assert out[:, 0, :33, :40].unique().tolist() == [10.0] and out[:, 2, :33, :40].unique().tolist() == [0.0]
    assert not out[:, :, 33:].any() and not out[:, :, :, 40:].any()


def packed(num_frames, size):
    sample = VideoDataSample(metainfo=dict(video_id='v', frame_indices=tuple(range(num_frames))))
    maps = torch.zeros(1, num_frames, *size, dtype=torch.uint8)
    maps[:, :, :4, :5] = 1
    for name, value in (
        ('gt_index_maps', maps),
        ('gt_ids', torch.tensor([9, 12])),
        ('gt_labels', torch.tensor([3, 1])),
    ):
        sample.set_field(value, name)
    return dict(inputs=torch.zeros(num_frames, 3, *size, dtype=torch.uint8), data_samples=sample)


def test_training_batch_has_targets_of_the_padded_size():
    clips = [packed(2, (20, 30)), packed(2, (40, 20))]
    batch = ClipPreprocessor()(
        dict(inputs=[c['inputs'] for c in clips], data_samples=[c['data_samples'] for c in clips]), True
    )
    assert batch['inputs'].shape == (2, 2, 3, 64, 32)
    targets = batch['data_samples'][0].gt_targets
    assert targets.masks.shape == (1, 2, 64, 32) and targets.masks.sum() == 2 * 20
    assert targets.ids.tolist() == [9] and targets.labels.tolist() == [3]  # id 12 has no pixels
    assert targets.name == 'video v, frames [0, 1]'


def test_clips_of_different_lengths_are_refused():
    clips = [packed(2, (20, 30)), packed(3, (20, 30))]
    with pytest.raises(ValueError, match=r'the same length, got \[2, 3\] frames'):
        ClipPreprocessor()(
            dict(inputs=[c['inputs'] for c in clips], data_samples=[c['data_samples'] for c in clips]), True
        )


def test_void_is_ignored_where_a_clip_says_so():
    plain, flagged = packed(2, (20, 30)), packed(2, (20, 30))
    flagged['data_samples'].set_metainfo(dict(ignore_void=True))
    batch = ClipPreprocessor()(
        dict(
            inputs=[c['inputs'] for c in (plain, flagged)], data_samples=[c['data_samples'] for c in (plain, flagged)]
        ),
        True,
    )
    first, second = (sample.gt_targets for sample in batch['data_samples'])
    assert first.ignored is None and second.ignored.shape == (2, 32, 32)
    assert not second.ignored[:, :4, :5].any() and second.ignored[:, 4:20, :30].all()
    # padding is not ignored; it contains no objects
    assert not second.ignored[:, 20:].any() and not second.ignored[:, :, 30:].any()


def test_a_batch_of_mixed_sizes_is_warned_of():
    clips = [packed(2, (20, 30)), packed(2, (20, 70))]
    data = dict(inputs=[c['inputs'] for c in clips], data_samples=[c['data_samples'] for c in clips])
    with pytest.warns(UserWarning, match='a batch contains clips of different sizes') as caught:
        ClipPreprocessor()(data, True)
    assert len(caught) == 1
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter('error')
        ClipPreprocessor()(dict(inputs=data['inputs'][:1], data_samples=data['data_samples'][:1]), True)


def test_padding_to_squares_with_black():
    frames = torch.randint(0, 256, (2, 3, 20, 40), dtype=torch.uint8)
    plain, black = ClipPreprocessor(divisor=16), ClipPreprocessor(divisor=16, square=True, fill='black')
    assert plain.padded((20, 40)) == (32, 48) and black.padded((20, 40)) == black.padded((40, 20)) == (48, 48)
    assert not plain.normalise(frames, (32, 48))[..., 20:, :].any()
    found = black.normalise(frames, (48, 48))
    assert torch.equal(found[..., :20, :40], plain.normalise(frames, (32, 48))[..., :20, :40])
    expected = (-black.mean / black.std).expand(2, 3, 28, 48)
    assert torch.equal(found[..., 20:, :], expected) and torch.equal(
        found[..., 40:], expected[..., :1, :8].expand(2, 3, 48, 8)
    )
    (sample,) = tiny.model(data_preprocessor=dict(type='ClipPreprocessor', square=True)).predict(
        [ArrayFrames(frames)], [VideoDataSample()]
    )
    (result,) = sample.values()
    assert result.frame(0).id_map.shape == (20, 40)
    with pytest.raises(ValueError, match="fill must be 'zero' or 'black', got 'white'"):
        ClipPreprocessor(fill='white')
