"""Oracle tracking: segmenter outputs associated with the ground truth."""

import numpy as np
import pytest
import torch
from helpers import tiny
from helpers.commands import DATA

from mmdvis.analysis.oracle_tracking import gt_masks, match_queries, predict_with_oracle_tracking, reorder_tracks
from mmdvis.io import ArrayFrames
from mmdvis.models.functional.track_memory import mask_iou
from mmdvis.models.trackers import CosineTracker
from mmdvis.results import VideoDataSample
from mmdvis.testing.parity.dvis import Fixture


def test_overlaps_by_hand():
    predicted = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]]]).bool()
    gt = gt_masks(np.array([[5, 5, 5, 0]]), [5, 9])
    assert gt.tolist() == [[[True, True, True, False]], [[False] * 4]]
    torch.testing.assert_close(mask_iou(gt, predicted), torch.tensor([[2 / 3, 0.0], [0.0, 0.0]]))


def test_every_object_gets_its_query_and_nobody_is_lost():
    iou = torch.tensor([[0.0, 0.9, 0.0, 0.1], [0.8, 0.0, 0.7, 0.0]])
    order, taken = match_queries(iou, torch.zeros(2, 4), 0.25)
    assert order[:2].tolist() == [1, 0] and sorted(order.tolist()) == [0, 1, 2, 3] and taken.all()
    order, _ = match_queries(iou, torch.tensor([[0.0] * 4, [0.0, 0.0, 0.9, 0.0]]), 0.25)
    assert order[:2].tolist() == [1, 2]  # two queries overlap; the one with the correct class is chosen


def test_an_object_without_a_query_is_not_valid():
    order, taken = match_queries(torch.tensor([[0.1, 0.2, 0.0], [0.0, 0.0, 0.9]]), torch.ones(2, 3), 0.25)
    assert taken.tolist() == [False, True] and order[1] == 2 and sorted(order.tolist()) == [0, 1, 2]


def test_rows_are_reordered_together():
    tracks, _ = CosineTracker()(tiny.frame_queries(2))
    order = torch.stack([torch.randperm(tiny.QUERIES) for _ in range(2)])[None]
    valid = torch.rand(1, 2, tiny.QUERIES) > 0.5
    other = reorder_tracks(tracks, order, valid)
    assert torch.equal(other.valid, valid)
    for name in ('embeds', 'class_logits', 'mask_embeds'):
        assert torch.equal(getattr(other, name)[0, 1], getattr(tracks, name)[0, 1, order[0, 1]])


def test_the_association_of_the_truth_is_used(monkeypatch):
    """The prediction of the model serves as ground truth.

    The tracker's rows are then permuted, and oracle tracking must restore the association.
    """
    fixture = Fixture.read(DATA / 'parity' / 'dvis_swin')  # its random weights give several segments
    model, source = fixture.model('MinVIS', 'vps'), fixture.source
    result = model.predict([source], [VideoDataSample()])[0].pred_panoptic
    maps, labels = list(result.id_map.numpy()), {s.id: s.label for s in result.segments}
    assert len(labels) > 2
    forward = CosineTracker.forward

    def mixed(self, queries, state=None):
        tracks, state = forward(self, queries, state)
        order = torch.stack([torch.randperm(12) for _ in range(tracks.embeds.shape[1])])[None]
        return reorder_tracks(tracks, order, tracks.valid), state

    monkeypatch.setattr(CosineTracker, 'forward', mixed)
    wrong = model.predict([source], [VideoDataSample()])[0].pred_panoptic
    again = predict_with_oracle_tracking(model, source, maps, labels, VideoDataSample(metainfo=dict(video_id='v')))
    assert again.video_id == 'v'
    assert purity(again.pred_panoptic.id_map, result.id_map) > purity(wrong.id_map, result.id_map) + 0.1


def purity(predicted, truth):
    """Return the fraction of predicted pixels that lie in the ground truth id which their predicted id covers most."""
    best = sum(np.bincount(truth[predicted == i].numpy()).max() for i in predicted.unique() if i)
    return best / max(int((predicted > 0).sum()), 1)


def test_more_objects_than_queries_are_refused():
    model, source = tiny.model('cosine').eval(), ArrayFrames(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    labels = dict.fromkeys(range(1, tiny.QUERIES + 2), 0)
    with pytest.raises(ValueError, match='got 7 queries for 8 objects and no refiner'):
        predict_with_oracle_tracking(model, source, [np.ones((32, 32), np.int32)], labels, VideoDataSample())
