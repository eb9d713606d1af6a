"""Small pure functions, checked by hand."""

import pytest
import torch

from mmdvis.models.functional import point_sampling
from mmdvis.models.functional.class_scores import video_scores
from mmdvis.models.functional.layer_predictions import LayerPredictions
from mmdvis.models.functional.match_cost import class_cost, dice_loss
from mmdvis.models.functional.matching import last_present
from mmdvis.models.functional.panoptic_fusion import confident_rows, name_segments
from mmdvis.models.functional.point_sampling import (
    corners,
    point_offsets,
    random_points,
    sample_features,
    sample_masks,
    sample_targets,
)
from mmdvis.models.layers.heads import mask_mlp, xavier_matrices
from mmdvis.models.layers.pixel_decoder import grid_centres
from mmdvis.models.postprocessors.instance import encode_masks


def test_corners_of_a_point_between_four_pixels():
    index, weight = map(torch.stack, zip(*corners(torch.tensor([[0.5, 0.5]]), 2, 2)))  # the centre of a 2 x 2 map
    assert sorted(index[:, 0].tolist()) == [0, 1, 2, 3] and weight[:, 0].tolist() == [0.25] * 4


def test_corners_of_a_pixel_centre():
    index, weight = map(torch.stack, zip(*corners(torch.tensor([[0.75, 0.25]]), 2, 2)))
    assert index[weight[:, 0] > 0, 0].tolist() == [1]


def test_beyond_the_border_counts_as_zero():
    features = torch.ones(1, 1, 2, 2)
    at = torch.tensor([[[0.0, 0.0], [0.25, 0.0], [0.5, 0.5], [-0.3, 0.5]]])
    torch.testing.assert_close(sample_features(features, at)[0, 0], torch.tensor([0.25, 0.5, 1.0, 0.0]))
    gt = torch.ones(1, 1, 2, 2, dtype=torch.bool)
    torch.testing.assert_close(
        sample_targets(gt, torch.zeros(1, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long), at),
        torch.tensor([[0.25, 0.5, 1.0, 0.0]]),
    )


@pytest.mark.parametrize('at_once', [1, 5, 1 << 15])
def test_gradients_of_points_in_frames(at_once, monkeypatch):
    """Gradients agree with finite differences, for points beyond the border and for repeated points, too."""
    monkeypatch.setattr(point_sampling, 'READ_ON_CPU', at_once)
    g = torch.Generator().manual_seed(0)
    masks = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=g, requires_grad=True)
    coords = torch.rand(2, 7, 2, dtype=torch.float64, generator=g) * 1.4 - 0.2
    coords[:, 1] = coords[:, 0]
    frames = torch.randint(3, (2, 7), generator=g, dtype=torch.int16)
    frames[:, 1] = frames[:, 0]
    assert torch.autograd.gradcheck(lambda x: sample_masks(x, frames, coords), masks)


def test_known_values_are_not_sampled_again_but_have_gradients(monkeypatch):
    masks, frames = torch.randn(2, 3, 4, 5, requires_grad=True), torch.ones(2, 6, dtype=torch.int16)
    coords = torch.rand(2, 6, 2)
    values = sample_masks(masks, frames, coords)
    (expected,) = torch.autograd.grad(values.square().sum(), masks)
    monkeypatch.setattr(point_sampling, 'read_points', None)  # sampling again would fail
    again = sample_masks(masks, frames, coords, values.detach())
    (gradient,) = torch.autograd.grad(again.square().sum(), masks)
    assert torch.equal(again, values) and torch.equal(gradient, expected)
    assert bool((gradient[:, [0, 2]] == 0).all())


def test_places_of_all_points_come_once(monkeypatch):
    monkeypatch.setattr(point_sampling, 'READ_ON_CPU', 4)
    rows, frames, coords = torch.tensor([2, 0]), torch.tensor([[0, 1, 1], [1, 0, 0]]), torch.full((2, 3, 2), 0.5)
    offsets = list(point_offsets(rows, frames, coords, (3, 2, 2, 2)))
    assert [(piece.start, piece.stop) for piece, _ in offsets] == [(0, 4), (4, 6)]
    first = torch.cat([corner[0][0] for _, corner in offsets])  # the upper left neighbour is the first pixel of the map
    assert first.tolist() == [(v * 2 + t) * 4 for v, t in ((2, 0), (2, 1), (2, 1), (0, 1), (0, 0), (0, 0))]


def test_every_frame_gets_its_share_of_random_points():
    frames, coords = random_points(2, 3, 5, torch.zeros(1), torch.Generator().manual_seed(0))
    assert frames.tolist() == [[0] * 5 + [1] * 5 + [2] * 5] * 2
    assert coords.shape == (2, 15, 2) and coords.min() >= 0 and coords.max() <= 1


def test_dice_of_known_masks():
    full, empty = torch.ones(1, 9), torch.zeros(1, 9)
    assert float(dice_loss(full, full)) == 0.0
    assert float(dice_loss(full, empty)) == pytest.approx(1 - 1 / 10)
    assert float(dice_loss(empty, empty)) == 0.0


def test_class_cost_is_minus_the_probability():
    logits = torch.tensor([[[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]])
    cost = class_cost(logits, torch.tensor([0, 1, 1]))
    assert cost.shape == (1, 2, 3)
    torch.testing.assert_close(cost[0, 0], torch.tensor([-1 / 3] * 3))
    assert float(cost[0, 1, 0]) < -0.99


def test_the_last_present_frame_of_each_video():
    values = torch.arange(6.0).view(2, 3, 1)
    present = torch.tensor([[True, True, False], [True, True, True]])
    assert last_present(values, present).flatten().tolist() == [1.0, 5.0]
    nobody = torch.tensor([[False] * 3, [True, False, False]])
    before = torch.tensor([[7.0], [8.0]])
    assert last_present(values, nobody, before).flatten().tolist() == [7.0, 3.0]


def test_confident_rows():
    scores = torch.tensor([[0.9, 0.0, 0.1], [0.2, 0.2, 0.6], [0.4, 0.3, 0.3]])
    rows, top, labels = confident_rows(scores, 0.5)
    assert (rows.tolist(), labels.tolist()) == ([0], [0]) and float(top) == pytest.approx(0.9)


@pytest.mark.parametrize('shape, expected', [(None, [1, 2, 2, 0, 0]), ((9, 6), [3, 14, 14, 0, 0])])
def test_names_of_segments(shape, expected):
    rows, labels = torch.tensor([2, 4, 5, 7]), torch.tensor([1, 4, 4, 0])
    stable = torch.tensor([True, True, True, False])
    ids, segments = name_segments(rows, torch.ones(4), labels, stable, 2, shape)
    assert ids.tolist() == expected
    assert [(s.row, s.label, s.is_thing) for s in segments] == [(2, 1, True), (4, 4, False)]


def test_grid_centres_are_x_then_y():
    torch.testing.assert_close(grid_centres(1, 2, torch.zeros(1)), torch.tensor([[0.25, 0.5], [0.75, 0.5]]))


def test_layer_predictions_compare_their_shapes():
    with pytest.raises(ValueError, match='axis B is 1 in class_logits and 2 in mask_features'):
        LayerPredictions(torch.zeros(1, 1, 2, 3, 4), torch.zeros(1, 1, 2, 3, 5), torch.zeros(2, 2, 5, 8, 8))


def test_the_mask_mlp_has_mmdets_names():
    assert list(mask_mlp(4, 6).state_dict()) == [f'{k}.{n}' for k in (0, 2, 4) for n in ('weight', 'bias')]
    assert mask_mlp(4, 6)(torch.zeros(2, 4)).shape == (2, 6)


def test_xavier_leaves_vectors_alone():
    layer = torch.nn.Linear(50, 50)
    torch.nn.init.constant_(layer.weight, 3.0)
    torch.nn.init.constant_(layer.bias, 3.0)
    xavier_matrices(layer)
    bound = (6 / 100) ** 0.5
    assert layer.weight.abs().max() <= bound and layer.weight.std() > bound / 3 and (layer.bias == 3).all()


def test_masks_are_encoded_as_coco_does():
    from pycocotools import mask as coco_mask

    masks = torch.stack([torch.ones(3, 4, dtype=torch.bool), torch.zeros(3, 4, dtype=torch.bool)])
    codes = encode_masks(masks)
    assert [int(coco_mask.area(dict(code))) for code in codes] == [12, 0]
    assert codes[0]['size'] == [3, 4] and isinstance(codes[0]['counts'], str)


def test_a_row_never_valid_has_even_scores():
    scores = video_scores(torch.randn(2, 1, 4), torch.zeros(2, 1, dtype=torch.bool))
    torch.testing.assert_close(scores, torch.full((1, 4), 0.25))
