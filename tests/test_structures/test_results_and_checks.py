"""Shape checks, step contexts, masks, predictions and results."""

from dataclasses import dataclass

import pytest
import torch

from mmdvis.checks import check_shapes
from mmdvis.results import ClassInfo, VideoDataSample, VideoInstances, VideoPanoptic, VideoSemantic
from mmdvis.structures import FactoredMasks, FrameSize, Segment, StepContext, VideoPrediction
from mmdvis.structures.masks import resize, to_image


@dataclass
class Pair:
    a: torch.Tensor
    b: torch.Tensor


@pytest.mark.parametrize(
    'a, b, message',
    [
        ((2, 3), (3, 4), None),
        ((2, 3), (4, 4), 'axis Q is 3 in a and 4 in b'),
        ((2, 3, 1), (3, 4), 'a must have the axes TQ'),
    ],
)
def test_axes_of_one_letter_have_one_length(a, b, message):
    pair = Pair(torch.zeros(a), torch.zeros(b))
    if message is None:
        check_shapes(pair, dict(a='TQ', b='QC'))
    else:
        with pytest.raises(ValueError, match=message):
            check_shapes(pair, dict(a='TQ', b='QC'))


def test_an_axis_may_not_change_within_a_field():
    with pytest.raises(ValueError, match='axis Q is 3 in a and 4 in a'):
        check_shapes(Pair(torch.zeros(3, 4), torch.zeros(1)), dict(a='QQ'))


def test_outside_a_runner_a_step_is_at_the_end():
    assert StepContext().progress == 1.0


def test_generators_are_fresh_each_time():
    context = StepContext(seed=3, iteration=9)
    a, b = (torch.rand(4, generator=context.generator('x')) for _ in range(2))
    assert torch.equal(a, b)


def test_many_contexts_give_many_seeds():
    seeds = {
        StepContext(seed=s, rank=r, iteration=i).generator(n).initial_seed()
        for s in range(3)
        for r in range(3)
        for i in range(20)
        for n in ('match', 'points')
    }
    assert len(seeds) == 3 * 3 * 20 * 2


def test_resizing_to_the_same_size_is_no_work():
    maps = torch.rand(2, 4, 5)
    assert resize(maps, (4, 5)) is maps
    assert resize(maps[:0], (8, 9)).shape == (0, 8, 9)


def test_padding_is_cut_before_the_last_resize():
    maps = torch.zeros(1, 2, 2)
    maps[0, :, 1] = 5.0  # the padding has other values
    image = to_image(maps, FrameSize((8, 8), (8, 2), (8, 2)))
    assert image.shape == (1, 8, 2) and image.max() == 0.0


def test_a_bias_moves_the_logits():
    size = FrameSize((4, 4), (4, 4), (4, 4))
    features, embeds = torch.rand(1, 3, 4, 4), torch.rand(1, 2, 3)
    plain = FactoredMasks(embeds, torch.zeros(1, 2), features, size)
    moved = FactoredMasks(embeds, torch.tensor([[0.0, 2.0]]), features, size)
    rows = torch.tensor([0, 1])
    difference = moved.logits(rows, 0) - plain.logits(rows, 0)
    torch.testing.assert_close(difference[0], torch.zeros(4, 4))
    torch.testing.assert_close(difference[1], torch.full((4, 4), 2.0))


def test_masks_of_absent_rows_are_empty():
    masks = FactoredMasks(
        torch.ones(2, 2, 3), torch.zeros(2, 2), torch.ones(2, 3, 4, 4), FrameSize((4, 4), (4, 4), (4, 4))
    )
    valid = torch.tensor([[True, True], [False, True]])
    prediction = VideoPrediction(torch.arange(2), torch.rand(2, 4), valid, masks)
    probs = prediction.probs_of(torch.tensor([0, 1]))
    assert (probs(0) > 0).all() and not probs(1)[0].any() and (probs(1)[1] > 0).all()
    assert prediction.num_frames == 2 and not prediction.is_causal


CLASSES = ClassInfo.numbered(3)


def segment(number, label=0):
    return Segment(number, 0, label, True, 0.5)


def test_segments_of_a_frame_are_those_with_pixels():
    id_map = torch.tensor([[[0, 3]], [[3, 1]]], dtype=torch.int32)
    whole = VideoPanoptic(id_map, (segment(3), segment(1), segment(7)), CLASSES)
    assert [[s.id for s in whole.segments_at(t)] for t in (0, 1)] == [[3], [1, 3]]


def test_a_causal_frame_says_what_was_known_then():
    id_map = torch.tensor([[[3]], [[3]]], dtype=torch.int32)
    early, late = segment(3, label=1), segment(3, label=2)
    causal = VideoPanoptic(id_map, (late,), CLASSES, ((early,), (late,)))
    assert [causal.segments_at(t)[0].label for t in (0, 1)] == [1, 2]


@pytest.mark.parametrize(
    'result, field',
    [
        (VideoPanoptic(torch.zeros(1, 2, 2, dtype=torch.int32), (), CLASSES), 'pred_panoptic'),
        (VideoInstances(torch.zeros(0), torch.zeros(0), torch.zeros(0), [], CLASSES, 1, (2, 2)), 'pred_instances'),
        (VideoSemantic(torch.zeros(1, 2, 2, dtype=torch.uint8), CLASSES), 'pred_semantic'),
    ],
)
def test_every_result_packs_itself(result, field):
    sample = result.pack(VideoDataSample(metainfo=dict(video_id='v')))
    assert getattr(sample, field) is result and sample.to_dict()['video_id'] == 'v'


def test_masks_and_predictions_check_their_shapes():
    size = FrameSize((4, 4), (4, 4), (4, 4))
    with pytest.raises(ValueError, match='axis Q is 2 in embeds and 3 in bias'):
        FactoredMasks(torch.ones(2, 2, 3), torch.zeros(2, 3), torch.ones(2, 3, 4, 4), size)
    masks = FactoredMasks(torch.ones(2, 2, 3), torch.zeros(2, 2), torch.ones(2, 3, 4, 4), size)
    valid = torch.ones(2, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match='axis Q is 2 in ids and 3 in scores'):
        VideoPrediction(torch.arange(2), torch.rand(3, 4), valid, masks)
    with pytest.raises(ValueError, match='axis T is 3 in scores and 2 in valid'):
        VideoPrediction(torch.arange(2), torch.rand(3, 2, 4), valid, masks)
