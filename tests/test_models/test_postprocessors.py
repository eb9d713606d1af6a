"""Postprocessors on small cases with known results."""

from dataclasses import dataclass

import pytest
import torch
from pycocotools import mask as coco_mask

from mmdvis.io import DiskBackedMaps
from mmdvis.models.functional.class_scores import mean_logits, running_scores, video_scores
from mmdvis.models.functional.panoptic_fusion import assign_bands, fuse_panoptic
from mmdvis.models.postprocessors import InstancePostprocessor, PanopticPostprocessor, SemanticPostprocessor
from mmdvis.results import VideoDataSample
from mmdvis.structures import FactoredMasks, FrameSize, VideoPrediction
from mmdvis.structures.masks import resize, to_image


@dataclass(frozen=True, eq=False)
class Dense:
    """Explicit mask probabilities (T, Q, H, W)."""

    values: torch.Tensor

    def probs(self, rows, frame):
        return self.values[frame, rows]

    def logits(self, rows, frame):
        return self.values[frame, rows].logit()


def prediction(probs, scores, valid=None):
    frames, rows = probs.shape[:2]
    valid = torch.ones(frames, rows, dtype=torch.bool) if valid is None else valid
    return VideoPrediction(torch.arange(rows), torch.tensor(scores), valid, Dense(probs))


def scene():
    """Return two frames of 2 x 4 pixels.

    The rows are thing 0 left, stuff 2 top right, stuff 2 bottom right, and a low-scoring one everywhere.
    """
    probs = torch.full((2, 4, 2, 4), 0.1)
    probs[:, 0, :, :2] = 0.9
    probs[:, 1, 0, 2:] = 0.9
    probs[:, 2, 1, 2:] = 0.8
    probs[:, 3] = 0.6
    scores = [[0.9, 0.05, 0.0, 0.05], [0.0, 0.1, 0.9, 0.0], [0.0, 0.1, 0.9, 0.0], [0.3, 0.3, 0.3, 0.1]]
    return probs, scores


def panoptic(probs, scores, **options):
    options = {**dict(num_things=2, score_thr=0.5, overlap_thr=0.5), **options}
    return PanopticPostprocessor(**options)(prediction(probs, scores))


def test_things_stuff_and_void():
    result = panoptic(*scene())
    assert result.id_map[0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]
    assert [(s.id, s.row, s.label, s.is_thing) for s in result.segments] == [(1, 0, 0, True), (2, 1, 2, False)]
    probs, scores = scene()
    probs[1, 0] = 0.4  # in the second frame the thing is below 0.5 everywhere
    result = panoptic(probs, scores)
    assert result.id_map[1].tolist() == [[0, 0, 2, 2], [0, 0, 2, 2]]


def test_a_row_that_keeps_too_little_goes_everywhere():
    probs = torch.zeros(2, 2, 1, 10)
    probs[:, 1] = 0.1  # wins where row 0 is zero
    probs[0, 0, 0, :], probs[1, 0, 0, 0] = 0.9, 0.9  # row 0 claims 11 pixels
    probs[0, 1, 0, 1:] = 0.95  # row 1 wins nine of them
    scores = [[0.9, 0.0, 0.0], [0.0, 0.95, 0.0]]
    assert [s.row for s in panoptic(probs, scores, overlap_thr=0.2).segments] == [1]
    assert [s.row for s in panoptic(probs, scores, overlap_thr=0.18).segments] == [0, 1]
    id_map = panoptic(probs, scores, overlap_thr=0.2).id_map
    assert id_map[1].tolist() == [[0] * 10] and id_map[0, 0, 0] == 0


def test_fusion_equals_the_whole_video_formula():
    """The two streaming passes equal the formula on all masks at once."""
    g = torch.Generator().manual_seed(0)
    probs = torch.rand(5, 8, 12, 16, generator=g)
    scores = (4 * torch.randn(8, 6, generator=g)).softmax(-1)
    maps = fuse_panoptic(
        scores, lambda rows, top, t: assign_bands(top, probs[t, rows]), range(5), DiskBackedMaps(), 3, 0.3, 0.3
    )
    id_map, segments = torch.stack([maps[t] for t in range(5)]), maps.segments
    top, labels = scores.max(-1)
    rows = [q for q in range(8) if labels[q] != 5 and top[q] > 0.3]
    winner = (top[rows][None, :, None, None] * probs[:, rows]).argmax(1)
    expected, number, stuff = torch.zeros(5, 12, 16, dtype=torch.int32), 0, {}
    for k, q in enumerate(rows):
        won, claimed = winner == k, probs[:, q] >= 0.5
        if not (won & claimed).any() or won.sum() / claimed.sum() < 0.3:
            continue
        label = int(labels[q])
        if label < 3 or label not in stuff:
            number += 1
            stuff[label] = number
        expected[won & claimed] = number if label < 3 else stuff[label]
    assert torch.equal(id_map, expected) and len(segments) == number > 1


def test_no_object_gives_void():
    result = panoptic(torch.full((2, 2, 3, 3), 0.9), [[0.1, 0.1, 0.8], [0.1, 0.1, 0.8]])
    assert not result.id_map.any() and result.segments == () and result.id_map.shape == (2, 3, 3)


def test_causal_ids_do_not_depend_on_the_future():
    probs, scores = scene()
    causal = torch.tensor([scores, scores])
    causal[0, 0] = torch.tensor([0.1, 0.1, 0.1, 0.7])  # the thing has no score in the first frame
    result = PanopticPostprocessor(2, 0.5, 0.5)(prediction(probs, causal.tolist()))
    assert result.id_map[0].tolist() == [[0, 0, 7, 7], [0, 0, 7, 7]]  # stuff of class 2: Q + 1 + 2
    assert result.id_map[1].tolist() == [[1, 1, 7, 7], [1, 1, 7, 7]]  # thing of row 0: 0 + 1


def test_rows_that_are_not_valid_have_no_pixels():
    probs, scores = scene()
    valid = torch.ones(2, 4, dtype=torch.bool)
    valid[1, 0] = False
    result = PanopticPostprocessor(2, 0.5, 0.5)(prediction(probs, scores, valid))
    assert (result.id_map[0] == 1).any() and not (result.id_map[1] == 1).any()
    instances = InstancePostprocessor(1)(prediction(probs, scores, valid))
    assert instances.ids.tolist() == [1]  # 0 is no object
    assert [coco_mask.area(code) > 0 for code in instances.masks[0]] == [True, False]


def test_instances_are_the_best_pairs():
    probs, scores = scene()
    result = InstancePostprocessor(3)(prediction(probs, scores))
    torch.testing.assert_close(result.scores, torch.tensor([0.9, 0.9, 0.9]))
    assert sorted(zip(result.ids.tolist(), result.labels.tolist())) == [(1, 0), (2, 2), (3, 2)]
    thing = result.masks[result.ids.tolist().index(1)]
    assert coco_mask.decode(dict(thing[0])).tolist() == [[1, 1, 0, 0]] * 2 and len(thing) == 2


def test_semantic_is_the_largest_vote():
    probs, scores = scene()
    labels = SemanticPostprocessor()(prediction(probs, scores)).label_map
    assert labels.dtype == 'uint8' and labels[0].tolist() == [[0, 0, 2, 2], [0, 0, 2, 2]]


def test_factored_masks_resize_in_the_official_order():
    g = torch.Generator().manual_seed(0)
    size = FrameSize((32, 64), (30, 50), (45, 75))
    masks = FactoredMasks(
        torch.randn(2, 3, 4, generator=g), torch.randn(2, 3, generator=g), torch.randn(2, 4, 8, 16, generator=g), size
    )
    rows = torch.tensor([2, 0])
    small = torch.einsum('qm,mhw->qhw', masks.embeds[1, rows], masks.features[1]) + masks.bias[1, rows, None, None]
    padded = torch.nn.functional.interpolate(small[None], size=(32, 64), mode='bilinear', align_corners=False)[0]
    image = padded[:, :30, :50]
    torch.testing.assert_close(to_image(small, size), image)
    torch.testing.assert_close(masks.probs(rows, 1), resize(image.sigmoid(), (45, 75)))
    torch.testing.assert_close(masks.logits(rows, 1), resize(image, (45, 75)))


def test_scores_average_logits_and_take_the_better_class():
    logits, valid = torch.randn(3, 2, 4), torch.tensor([[True, True], [True, False], [False, True]])
    mean = mean_logits(logits, valid)
    torch.testing.assert_close(mean[0], logits[:2, 0].mean(0))
    torch.testing.assert_close(mean[1], logits[[0, 2], 1].mean(0))
    tracked = torch.randn(3, 2, 4)
    both = video_scores(logits, valid, tracked)
    alone, other = video_scores(logits, valid), video_scores(tracked, valid)
    torch.testing.assert_close(both[:, :-1], torch.maximum(alone, other)[:, :-1])
    torch.testing.assert_close(both[:, -1], alone[:, -1])


def test_running_scores_continue():
    logits = torch.randn(5, 2, 4)
    whole = running_scores(logits, torch.zeros(2, 4), 0)
    rest = running_scores(logits[3:], logits[:3].sum(0), 3)
    torch.testing.assert_close(whole[3:], rest)
    torch.testing.assert_close(whole[-1], logits.mean(0).softmax(-1))


@pytest.mark.parametrize('postprocessor', [PanopticPostprocessor(2), InstancePostprocessor(), SemanticPostprocessor()])
def test_the_given_sample_is_not_changed(postprocessor):
    sample = VideoDataSample(metainfo=dict(video_id='v'))
    packed = postprocessor(prediction(*scene())).pack(sample)
    assert list(sample.keys()) == [] and packed.video_id == 'v' and len(list(packed.keys())) == 1


def test_a_video_without_objects_is_void_at_its_own_size():
    size = FrameSize((32, 64), (30, 50), (45, 75))
    masks = FactoredMasks(torch.randn(2, 3, 4), torch.zeros(2, 3), torch.randn(2, 4, 8, 16), size)
    scores = torch.tensor([[0.1, 0.1, 0.8]] * 3)
    empty = VideoPrediction(torch.arange(3), scores, torch.ones(2, 3, dtype=torch.bool), masks)
    result = PanopticPostprocessor(2)(empty)
    assert result.id_map.shape == (2, 45, 75) and not result.id_map.any()


@pytest.mark.parametrize('mask_scores', [False, True])
def test_causal_instances_do_not_depend_on_the_division_into_calls(mask_scores):
    torch.manual_seed(0)
    probs, scores = torch.rand(4, 3, 6, 8), torch.rand(4, 3, 5).softmax(-1)
    model = InstancePostprocessor(3, mask_scores)
    whole = model(prediction(probs, scores.tolist()))
    for t in range(4):
        alone = model(prediction(probs[t : t + 1], scores[t : t + 1].tolist())).frame(0).objects
        together = whole.frame(t).objects
        assert len(alone) > 0 and len(alone) == len(together)
        for first, second in zip(alone, together):
            assert (first.id, first.label, first.score) == (second.id, second.label, second.score)
            assert (first.mask == second.mask).all()
