"""The query set loss: matching, guidance and edge cases."""

import logging
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from helpers import tiny

from mmdvis.models.functional.assignment import assign, check_costs, matched_queries
from mmdvis.models.functional.layer_predictions import LayerPredictions
from mmdvis.models.functional.match_cost import dice_loss
from mmdvis.models.functional.point_sampling import sample_features
from mmdvis.models.losses import QuerySetLoss
from mmdvis.structures import ClipTargets, StepContext
from mmdvis.testing.plain_loss import plain_loss

SIZE = (32, 48)


def predictions(num_frames=3, layers=2, batch=1, per_video=False, seed=0, bias=False):
    g = torch.Generator().manual_seed(seed)
    classes = torch.randn(layers, batch, 1 if per_video else num_frames, tiny.QUERIES, tiny.CLASSES + 1, generator=g)
    embeds = torch.randn(layers, batch, num_frames, tiny.QUERIES, 6, generator=g)
    offset = torch.randn(layers, batch, num_frames, tiny.QUERIES, generator=g) if bias else None
    return LayerPredictions(classes, embeds, torch.randn(batch, num_frames, 6, 8, 12, generator=g), offset)


def ideal(targets, slots, num_classes=tiny.CLASSES, frames=None):
    """Return perfect predictions with object n in slot ``slots[n]``."""
    n, t = targets.masks.shape[:2]
    small = torch.nn.functional.interpolate(targets.masks.float(), size=(8, 12), mode='area')
    features = (small * 40 - 20).transpose(0, 1)  # (T, N, h, w)
    embeds = torch.zeros(t, tiny.QUERIES, n)
    classes = torch.full((t, tiny.QUERIES, num_classes + 1), -10.0)
    classes[..., -1] = 10.0
    for row, slot in enumerate(slots):
        embeds[:, slot, row] = 1.0
        classes[:, slot] = -10.0
        classes[:, slot, targets.labels[row]] = 10.0
    free = [q for q in range(tiny.QUERIES) if q not in slots]
    embeds[:, free] = -1.0
    return LayerPredictions(classes[None, None], embeds[None, None], features[None])


def loss(matching='frame', **options):
    return QuerySetLoss(tiny.CLASSES, matching, **{**dict(num_points=64), **options})


@pytest.mark.parametrize('matching', ['frame', 'first_appearance', 'video'])
def test_a_perfect_prediction_costs_little(matching):
    targets = tiny.targets(3, SIZE)
    perfect = ideal(targets, [4, 0, 6])
    if matching == 'frame':
        visible = targets.visible
        classes = perfect.class_logits.clone()
        for n, slot in enumerate([4, 0, 6]):  # an absent object has the class "no object"
            classes[:, :, ~visible[n], slot] = torch.tensor([-10.0] * tiny.CLASSES + [10.0])
        perfect = LayerPredictions(classes, perfect.mask_embeds, perfect.mask_features)
    if matching == 'video':
        perfect = LayerPredictions(perfect.class_logits[:, :, :1], perfect.mask_embeds, perfect.mask_features)
    values = loss(matching)(perfect, [targets], StepContext())
    other = loss(matching)(predictions(3, 1, per_video=matching == 'video'), [targets], StepContext())
    assert values['loss_cls'] < 1e-3
    assert values['loss_dice'] < 0.5 * other['loss_dice']


def test_first_appearance_matches_in_the_frame_where_an_object_is_born():
    targets = tiny.targets(3, SIZE)  # the third object first appears in frame 2
    pairs = loss('first_appearance').match(ideal(targets, [4, 0, 6]), [targets], StepContext())
    assert pairs[0][0].tolist() == [[4, 0, 6]] and pairs[0][1].tolist() == [[0, 1, 2]]


def test_a_slot_once_taken_stays_taken():
    # object 2 prefers slot 0, which object 0 has
    cost = np.array([[[0.0, 0.0, -9.0], [5.0, 5.0, 0.0], [5.0, 4.0, 5.0]]])
    queries, objects = assign(cost, np.array([0, 0, 1]))
    assert objects.tolist() == [[0, 1, 2]]
    assert queries.tolist() == [[0, 2, 1]]


def test_more_objects_than_slots():
    queries, objects = assign(np.random.default_rng(0).random((2, 3, 5)), np.zeros(5))
    assert queries.shape == objects.shape == (2, 3)
    assert all(len(set(row)) == 3 for row in queries.tolist())
    many = tiny.targets(2, SIZE, objects=[(0, 0)] * (tiny.QUERIES + 2))
    values = loss('first_appearance')(predictions(2), [many], StepContext())
    assert all(torch.isfinite(v) for v in values.values())


def test_absent_objects_keep_their_class_and_an_empty_mask():
    targets = tiny.targets(3, SIZE, objects=((2, 2),))  # first appears in the last frame
    criterion = loss('first_appearance', no_object_weight=1.0)
    perfect = ideal(targets, [1])
    values = criterion(perfect, [targets], StepContext())
    assert values['loss_cls'] < 1e-3  # the class is trained in all three frames
    late = perfect.class_logits.clone()
    late[:, :, :2, 1] = torch.tensor([-10.0] * tiny.CLASSES + [10.0])
    worse = criterion(LayerPredictions(late, perfect.mask_embeds, perfect.mask_features), [targets], StepContext())
    assert worse['loss_cls'] > 1


def test_guidance_ends_at_half_of_the_run():
    targets = tiny.targets(3, SIZE)
    own, guide = ideal(targets, [4, 0, 6]), ideal(targets, [1, 2, 3])
    criterion = loss('first_appearance')

    def cls(progress):
        return float(criterion(own, [targets], StepContext(progress), guide)['loss_cls'])

    assert cls(0.0) > 1 and cls(0.4999) > 1  # matched by the guide, whose slots differ
    assert cls(0.5) < 1e-3 and cls(1.0) < 1e-3
    assert float(loss('first_appearance', guided=0.0)(own, [targets], StepContext(0.0), guide)['loss_cls']) < 1e-3


@pytest.mark.parametrize('matching', ['frame', 'first_appearance', 'video'])
def test_without_objects_everything_still_gets_a_gradient(matching):
    none = ClipTargets(
        torch.zeros(0, dtype=torch.long),
        torch.zeros(0, dtype=torch.long),
        torch.zeros(0, 3, *SIZE, dtype=torch.bool),
        torch.zeros(0, 3, dtype=torch.bool),
    )
    p = predictions(3, per_video=matching == 'video', bias=True)
    leaves = [x.requires_grad_() for x in (p.class_logits, p.mask_embeds, p.mask_features, p.mask_bias)]
    values = loss(matching)(p, [none], StepContext())
    sum(values.values()).backward()
    assert float(values['loss_mask']) == 0.0 and all(x.grad is not None for x in leaves)


@pytest.mark.parametrize('matching', ['frame', 'first_appearance', 'video'])
def test_a_batch_is_the_mean_of_its_clips(matching):
    clips = [tiny.targets(3, SIZE, seed=s) for s in (1, 2)]
    p = predictions(3, batch=2, per_video=matching == 'video')
    together = loss(matching, num_points=4000)(p, clips, StepContext())
    alone = [
        loss(matching, num_points=4000)(
            LayerPredictions(p.class_logits[:, b : b + 1], p.mask_embeds[:, b : b + 1], p.mask_features[b : b + 1]),
            clips[b : b + 1],
            StepContext(),
        )
        for b in range(2)
    ]
    for name in ('loss_mask', 'loss_dice'):  # both clips have the same number of objects
        torch.testing.assert_close(together[name], (alone[0][name] + alone[1][name]) / 2, rtol=0.02, atol=0.02)


def test_a_bias_of_zero_is_no_bias():
    targets, p = tiny.targets(3, SIZE), predictions()
    zero = LayerPredictions(p.class_logits, p.mask_embeds, p.mask_features, torch.zeros(2, 1, 3, tiny.QUERIES))
    a, b = (loss('first_appearance')(x, [targets], StepContext()) for x in (p, zero))
    for name in a:
        torch.testing.assert_close(a[name], b[name])


def test_costs_equal_dense_masks():
    """Sampling features before the product equals sampling masks after the product."""
    p, targets = predictions(1, 1), tiny.targets(1, SIZE, objects=((2, 0), (1, 0)))
    criterion, context = loss('video', num_points=50), StepContext()
    ours = criterion.costs(p, 0, targets, context.generator('match'))
    coords = torch.rand(1, 50, 2, generator=context.generator('match'))
    dense = torch.einsum('qm,mhw->qhw', p.mask_embeds[0, 0, 0], p.mask_features[0, 0])
    logits = sample_features(dense[None], coords)[0]
    gt = sample_features(targets.masks[:, 0].float()[None], coords)[0]
    bce = torch.stack(
        [
            torch.nn.functional.binary_cross_entropy_with_logits(logits, t.expand_as(logits), reduction='none').mean(1)
            for t in gt
        ],
        1,
    )
    dice = torch.stack([dice_loss(logits.sigmoid(), t.expand_as(logits)) for t in gt], 1)
    cls = -p.class_logits[0, 0, 0].softmax(-1)[:, targets.labels]
    torch.testing.assert_close(ours[0], 2 * cls + 5 * bce + 5 * dice, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    'matching, bias', [('frame', False), ('first_appearance', False), ('first_appearance', True), ('video', False)]
)
def test_losses_and_gradients_equal_the_plain_form(matching, bias):
    """The plain loss computes the masks of all slots and layers at once, with the same points."""
    results = []
    for way in (nullcontext(), plain_loss()):
        p = predictions(3, per_video=matching == 'video', bias=bias)
        leaves = [x.detach().requires_grad_() for x in (p.class_logits, p.mask_embeds, p.mask_features)]
        layers = LayerPredictions(*leaves, p.mask_bias)
        with way:
            losses = loss(matching, num_points=20)(layers, [tiny.targets(3, SIZE)], StepContext())
            results.append((losses, torch.autograd.grad(sum(losses.values()), leaves)))
    (ours, our_gradients), (theirs, their_gradients) = results
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, atol=1e-5, rtol=1e-5, msg=name)
    for a, b in zip(our_gradients, their_gradients):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_draws_depend_on_iteration_rank_and_name_only():
    def draw(name='a', **options):
        return torch.rand(3, generator=StepContext(**options).generator(name)).tolist()

    assert draw(iteration=3) == draw(iteration=3, progress=0.2)
    others = [draw(iteration=4), draw(iteration=3, rank=1), draw('b', iteration=3), draw(iteration=3, seed=7)]
    assert all(other != draw(iteration=3) for other in others)


def test_costs_that_are_not_finite_name_their_clip(caplog):
    with caplog.at_level(logging.ERROR, 'mmdvis'):
        cost = check_costs(np.array([[[np.nan, 1.0]]]), 'video 7, frames [1, 2]')
    assert np.isfinite(cost).all()
    assert 'video 7, frames [1, 2] hold 1 values that are not finite' in caplog.text


def test_points_in_portions_give_the_same_losses_on_average(monkeypatch):
    """The number of masks processed together only affects memory."""
    from mmdvis.models.losses import query_set_loss

    p, targets = predictions(3, per_video=True), [tiny.targets(3, SIZE)]
    whole = loss('video', num_points=3000)(p, targets, StepContext())
    monkeypatch.setattr(query_set_loss, 'MAX_POINTS', 1)
    portions = loss('video', num_points=3000)(p, targets, StepContext())
    for name in whole:
        torch.testing.assert_close(whole[name], portions[name], rtol=0.03, atol=0.02)


def test_a_guide_may_come_with_frames():
    targets, p = tiny.targets(3, SIZE), predictions(3, 1)
    values = loss('frame')(p, [targets], StepContext(0.0), predictions(3, 1, seed=5))
    assert all(torch.isfinite(v) for v in values.values())


def test_the_tall_video_belongs_to_whole_videos():
    with pytest.raises(ValueError, match="legacy_tall_video requires matching='video', got matching='frame'"):
        QuerySetLoss(3, 'frame', legacy_tall_video=True)


def test_unknown_matching_is_refused():
    with pytest.raises(ValueError, match="'frame', 'first_appearance' or 'video', got 'joint'"):
        QuerySetLoss(3, 'joint')


def test_legacy_frame_1_matching_ignores_when_an_object_is_born():
    """The third object first appears in the last frame, in slot 6; before, slot 1 has its class and an empty mask."""
    targets = tiny.targets(3, SIZE)
    predicted = ideal(targets, [4, 0, 6])
    classes = predicted.class_logits.clone()
    classes[:, :, 0, 6], classes[:, :, 0, 1] = classes[:, :, 0, 1].clone(), classes[:, :, 0, 6].clone()
    predicted.mask_embeds[:, :, 0, 1] = predicted.mask_embeds[:, :, 0, 6]
    predicted = LayerPredictions(classes, predicted.mask_embeds, predicted.mask_features)
    right = loss('first_appearance').match(predicted, [targets], StepContext())[0][0]
    legacy = loss('first_appearance', legacy_frame1_match=True).match(predicted, [targets], StepContext())[0][0]
    assert right.tolist() == [[4, 0, 6]] and legacy.tolist() == [[4, 0, 1]]


def test_legacy_labels_are_those_of_the_last_frame():
    """An object that disappears before the last frame is trained as "no object" in all frames."""
    targets = tiny.targets(3, SIZE, objects=((2, 0), (4, 0)))
    masks = targets.masks.clone()
    masks[1, 2] = False
    targets = ClipTargets(targets.labels, targets.ids, masks, masks.flatten(2).any(-1))
    predicted, other = ideal(targets, [1, 3]), ideal(targets, [1, 3])
    other.class_logits[:, :, :, 3] = torch.tensor([-10.0] * tiny.CLASSES + [10.0])
    for legacy, good, bad in ((False, predicted, other), (True, other, predicted)):
        criterion = loss('first_appearance', legacy_last_frame_labels=legacy, no_object_weight=1.0)
        assert criterion.labels(targets).tolist() == [2, tiny.CLASSES if legacy else 4]
        assert criterion(good, [targets], StepContext())['loss_cls'] < 1e-3
        assert criterion(bad, [targets], StepContext())['loss_cls'] > 1


def test_legacy_slots_may_be_shared_and_the_later_object_gives_the_class():
    # object 2 prefers slot 0, which object 0 has
    cost = np.array([[[0.0, 0.0, -9.0], [5.0, 5.0, 0.0], [5.0, 4.0, 5.0]]])
    queries, objects = assign(cost, np.array([0, 0, 1]), shared=True)
    assert objects.tolist() == [[0, 1, 2]] and queries.tolist() == [[0, 2, 0]]
    queries, objects = assign(cost, np.array([1, 0, 0]), shared=True)
    assert objects.tolist() == [[1, 2, 0]] and queries.tolist() == [[2, 0, 0]]  # in the order of their first frames
    assert matched_queries(queries, objects).tolist() == [[1, 0, 0]]
    assert matched_queries(np.zeros((2, 0), int), np.zeros((2, 0), int)).shape == (2, 0)


def test_legacy_shared_slots_change_the_class_loss():
    targets = tiny.targets(2, SIZE, objects=((2, 0), (4, 1)))
    predicted = ideal(targets, [3, 5])
    # in its first frame slot 3 also predicts object 1
    predicted.class_logits[:, :, 1, 3] = predicted.class_logits[:, :, 1, 5]
    predicted.mask_embeds[:, :, 1, 3] = predicted.mask_embeds[:, :, 1, 5]
    predicted.class_logits[:, :, 1, 5] = predicted.class_logits[:, :, 0, 0]
    predicted.mask_embeds[:, :, 1, 5] = -1.0
    right, legacy = (loss('first_appearance', legacy_shared_slots=shared) for shared in (False, True))
    assert right.match(predicted, [targets], StepContext())[0][0].tolist()[0][0] == 3
    assert right.match(predicted, [targets], StepContext())[0][0].tolist()[0][1] != 3
    assert legacy.match(predicted, [targets], StepContext())[0][0].tolist() == [[3, 3]]
    classes = [criterion(predicted, [targets], StepContext())['loss_cls'] for criterion in (right, legacy)]
    assert classes[0] != classes[1] and all(x.isfinite() for x in classes)


@pytest.mark.parametrize(
    'name, needed',
    [
        ('legacy_tall_video', 'video'),
        ('legacy_frame1_match', 'first_appearance'),
        ('legacy_shared_slots', 'first_appearance'),
    ],
)
def test_legacy_options_belong_to_a_matching(name, needed):
    with pytest.raises(ValueError, match=f"{name} requires matching='{needed}', got matching='frame'"):
        loss('frame', **{name: True})
    loss(needed, **{name: True})


def test_labels_of_the_last_frame_need_a_clip():
    with pytest.raises(ValueError, match="legacy_last_frame_labels requires matching=.* got matching='frame'"):
        loss('frame', legacy_last_frame_labels=True)


@pytest.mark.parametrize(
    'matching, options',
    [('frame', {}), ('first_appearance', {}), ('video', {}), ('video', dict(legacy_tall_video=True))],
)
def test_what_is_ignored_changes_nothing(matching, options):
    """Features and ground truth have no effect in an ignored region; without the mask the losses differ."""
    targets, per_video = tiny.targets(3, SIZE), matching == 'video'
    ignored = torch.zeros(3, *SIZE, dtype=torch.bool)
    ignored[1, 8:28, 8:40] = True
    before = predictions(3, per_video=per_video)
    features = before.mask_features.clone()
    features[:, 1, :, 3:6, 3:9] = 50.0  # two cells inside, out of reach of points outside
    after = LayerPredictions(before.class_logits, before.mask_embeds, features)
    masks = targets.masks.clone()
    masks[:, 1, 10:26, 10:38] = True
    module = loss(matching, importance_sampling=(1.0, 0.0), **options)

    def value(prediction, truth, void):
        clip = ClipTargets(targets.labels, targets.ids, truth, targets.visible, 'clip', void)
        return module(prediction, [clip, tiny.targets(3, SIZE)][:1], StepContext())

    first, second = value(before, targets.masks, ignored), value(after, masks, ignored)
    for name in first:
        assert torch.allclose(first[name], second[name], atol=1e-6), name
    third = value(after, masks, None)
    assert any(abs(first[name] - third[name]) > 0.1 for name in first if 'mask' in name)


def test_clips_with_and_without_ignored_pixels_share_a_batch():
    clips = [tiny.targets(2, SIZE), tiny.targets(2, SIZE, seed=3)]
    empty = ClipTargets(
        clips[1].labels, clips[1].ids, clips[1].masks, clips[1].visible, 'clip', torch.zeros(2, *SIZE, dtype=torch.bool)
    )
    both = predictions(2, batch=2)
    first, second = loss()(both, clips, StepContext()), loss()(both, [clips[0], empty], StepContext())
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


def test_a_clip_that_is_ignored_wholly_is_finite():
    clip = tiny.targets(2, SIZE)
    clip = ClipTargets(clip.labels, clip.ids, clip.masks, clip.visible, 'clip', torch.ones(2, *SIZE, dtype=torch.bool))
    assert all(torch.isfinite(value) for value in loss()(predictions(2), [clip], StepContext()).values())
