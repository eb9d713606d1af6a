"""Fusion of several passes and several checkpoints."""

from dataclasses import dataclass, replace

import pytest
import torch
from helpers import tiny

from mmdvis.checkpoints import Checkpoint, load_weights
from mmdvis.io import ArrayFrames, FlippedFrames, transform_frames
from mmdvis.models.functional.video_fusion import align, fuse_predictions
from mmdvis.models.postprocessors import InstancePostprocessor, PanopticPostprocessor, SemanticPostprocessor
from mmdvis.registry import MODELS
from mmdvis.results import VideoDataSample
from mmdvis.structures import AveragedMasks, FlippedMasks, VideoPrediction

FRAMES, ROWS, SIZE = 3, 4, (12, 16)
POSTS = [PanopticPostprocessor(2, 0.2, 0.2), InstancePostprocessor(6), SemanticPostprocessor()]


@dataclass(frozen=True, eq=False)
class Dense:
    """Explicit mask probabilities (T, Q, H, W)."""

    values: torch.Tensor

    def probs(self, rows, frame):
        return self.values[frame, rows]

    def logits(self, rows, frame):
        return self.values[frame, rows].logit()


def prediction(seed=0, causal=False):
    """Return a prediction whose rows 0 to 2 are rectangles and whose row 3 is empty."""
    g = torch.Generator().manual_seed(seed)
    probs = 0.05 + 0.1 * torch.rand(FRAMES, ROWS, *SIZE, generator=g)
    for row in range(3):
        for t in range(FRAMES):
            probs[t, row, 3 * row : 3 * row + 4, 2 + 3 * row + t : 7 + 3 * row + t] = 0.9 - 0.05 * row
    scores = torch.eye(ROWS, 4) * 0.7 + 0.075
    scores = scores.expand(FRAMES, -1, -1) if causal else scores
    return VideoPrediction(torch.arange(ROWS), scores, torch.ones(FRAMES, ROWS, dtype=torch.bool), Dense(probs))


def shuffled(source, order):
    order = torch.tensor(order)
    return VideoPrediction(
        torch.arange(len(order)),
        source.scores[..., order, :],
        source.valid[:, order],
        Dense(source.masks.values[:, order]),
    )


def results(source):
    panoptic, instances, semantic = (post(source) for post in POSTS)
    return panoptic.id_map, instances, semantic.label_map


def same(a, b):
    return (
        (a[0] == b[0]).all()
        and (a[2] == b[2]).all()
        and torch.equal(a[1].labels, b[1].labels)
        and torch.allclose(a[1].scores, b[1].scores)
        and a[1].masks == b[1].masks
    )


@pytest.mark.parametrize('causal', (False, True))
@pytest.mark.parametrize('order', ([0, 1, 2, 3], [2, 0, 3, 1], [3, 2, 1, 0]))
def test_the_same_in_another_order_changes_nothing(causal, order):
    first = prediction(causal=causal)
    second = shuffled(first, order)
    assert [order[k] for k in align(first, second).tolist()] == [0, 1, 2, 3]
    fused = fuse_predictions([first, second, shuffled(first, order[::-1])])
    torch.testing.assert_close(fused.scores, first.scores)
    for t in range(FRAMES):
        torch.testing.assert_close(fused.masks.probs(torch.arange(ROWS), t), first.masks.probs(torch.arange(ROWS), t))
    assert same(results(fused), results(first))
    assert same(results(fuse_predictions([first])), results(first))


def test_probabilities_are_means():
    first, second = prediction(0), shuffled(prediction(1), [1, 0, 2, 3])
    second = replace(second, scores=second.scores * 0.5)
    fused = fuse_predictions([first, second])
    torch.testing.assert_close(fused.scores[0], (first.scores[0] + second.scores[1]) / 2)
    rows = torch.tensor([2, 0])
    expected = (first.masks.values[1, [2, 0]] + second.masks.values[1, [2, 1]]) / 2
    torch.testing.assert_close(fused.masks.probs(rows, 1), expected)
    torch.testing.assert_close(fused.masks.logits(rows, 1), expected.logit())


def test_rows_that_a_pass_does_not_have():
    full = prediction()
    fewer = shuffled(full, [2, 0])
    fused = fuse_predictions([full, fewer])
    assert sorted(align(full, fewer).tolist()) == [-1, -1, 0, 1]
    torch.testing.assert_close(fused.scores, full.scores)
    torch.testing.assert_close(fused.masks.probs(torch.arange(ROWS), 0), full.masks.values[0])


def test_what_a_pass_does_not_see_is_valid_where_another_does():
    first, second = prediction(), prediction()
    valid = first.valid.clone()
    valid[1, 2] = False
    assert fuse_predictions([replace(first, valid=valid), second]).valid.all()
    assert not fuse_predictions([replace(first, valid=valid), replace(second, valid=valid)]).valid[1, 2]


def test_predictions_of_different_videos():
    full = prediction()
    short = VideoPrediction(full.ids, full.scores, full.valid[:2], full.masks)
    with pytest.raises(
        ValueError, match=r'number of frames, number of classes and causality, got \(3, 3, False\) and \(2, 3, False\)'
    ):
        fuse_predictions([full, short])
    with pytest.raises(ValueError, match='at least one prediction'):
        fuse_predictions([])


def test_a_mirror_twice_is_nothing():
    frames = torch.randint(0, 256, (4, 3, 10, 14), dtype=torch.uint8)
    source = FlippedFrames(FlippedFrames(ArrayFrames(frames)))
    assert torch.equal(source.read(1, 3), frames[1:3]) and len(source) == 4
    once = transform_frames(ArrayFrames(frames), flip=True)
    assert torch.equal(once.read(0, 4), frames.flip(-1)) and once.size == once.original == (10, 14)
    assert transform_frames(ArrayFrames(frames), short_edge=20).size == (20, 28)
    masks = Dense(torch.rand(1, 2, 3, 4))
    rows = torch.arange(2)
    assert torch.equal(FlippedMasks(FlippedMasks(masks)).probs(rows, 0), masks.probs(rows, 0))
    assert torch.equal(FlippedMasks(masks).logits(rows, 0), masks.logits(rows, 0).flip(-1))
    two = AveragedMasks((masks, FlippedMasks(masks)), (rows, rows))
    torch.testing.assert_close(two.probs(rows, 0), two.probs(rows, 0).flip(-1))


def config(**options):
    return dict(
        type='DVIS',
        num_classes=tiny.CLASSES,
        segmenter=tiny.SEGMENTER,
        tracker=tiny.TRACKERS['dvis'],
        postprocessor=options.pop('postprocessor', tiny.PANOPTIC),
        **options,
    )


def fusion(passes, seeds=(0,), **options):
    model = MODELS.build(dict(type='VideoFusion', members=[config(**options) for _ in seeds], passes=passes)).eval()
    for seed, member in zip(seeds, model.members):
        torch.manual_seed(seed)
        other = MODELS.build(config(**options))
        load_weights(member, Checkpoint(other.state_dict(), {}, f'{seed}.pth', 'mmdvis'))
    return model


def video(frames=4, size=(40, 56)):
    g = torch.Generator().manual_seed(0)
    return ArrayFrames(torch.randint(0, 256, (frames, 3, *size), generator=g, dtype=torch.uint8))


def test_one_pass_is_the_model_itself():
    fused = fusion([dict()])
    alone = fused.members[0].predict([video()], [VideoDataSample()])[0].pred_panoptic
    result = fused.predict([video()], [VideoDataSample()])[0].pred_panoptic
    assert torch.equal(result.id_map, alone.id_map) and result.segments == alone.segments
    twice = fusion([dict()], seeds=(0, 0)).predict([video()], [VideoDataSample()])[0].pred_panoptic
    assert torch.equal(twice.id_map, alone.id_map)


@pytest.mark.parametrize(
    'post, field',
    [
        (tiny.PANOPTIC, 'pred_panoptic'),
        (dict(type='InstancePostprocessor', max_num=5), 'pred_instances'),
        (dict(type='SemanticPostprocessor'), 'pred_semantic'),
    ],
)
@pytest.mark.parametrize('causal', (False, True))
def test_scales_and_mirror_for_every_task(post, field, causal):
    passes = [dict(short_edge=40), dict(short_edge=64, max_edge=80, flip=True)]
    model = fusion(passes, seeds=(0, 1), postprocessor=post, causal=causal)
    calls = []
    for member in model.members:
        member.segmenter.register_forward_pre_hook(lambda module, given: calls.append(tuple(given[0].shape[-2:])))
    sample = model.predict([video()], [VideoDataSample()])[0]
    result = sample.get(field)
    shape = (
        result.id_map.shape
        if field == 'pred_panoptic'
        else (result.label_map.shape if field == 'pred_semantic' else (4, *result.masks[0][0]['size']))
    )
    assert tuple(shape) == (4, 40, 56) and set(calls) == {(64, 64), (64, 96)} and len(calls) == 2 * 2 * 4


def test_a_symmetric_pair_gives_a_symmetric_answer():
    """The mean over a video and its mirror image is invariant to flipping."""
    model = fusion([dict(), dict(flip=True)])
    plain = model.fused(video(size=(64, 64)))
    flipped = model.fused(FlippedFrames(video(size=(64, 64))))
    order = align(plain, flipped)
    rows = torch.arange(len(plain.ids))
    left, right = plain.masks.probs(rows, 0).mean(0), flipped.masks.probs(order, 0).flip(-1).mean(0)
    torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-3)


def test_members_are_replaced_in_a_copy():
    model = fusion([dict()], seeds=(0, 1))
    first, second = model.members
    changed = model.map_members(lambda member: second if member is first else first)
    assert list(changed.members) == [second, first] and list(model.members) == [first, second]
    assert changed.passes == model.passes and not changed.training


@pytest.mark.parametrize('members, passes', [([], [{}]), ([1], [])])
def test_fusion_of_nothing(members, passes):
    with pytest.raises(ValueError, match='fusion needs at least one member and one pass'):
        MODELS.build(dict(type='VideoFusion', members=members, passes=passes))


def test_fusion_does_not_train():
    with pytest.raises(ValueError, match="VideoFusion only supports mode='predict', got 'loss'"):
        fusion([dict()])(None, None, mode='loss')
