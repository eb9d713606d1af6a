"""Memory use of the loss: only masks of matched rows, and ground truth in blocks of masks."""

import pytest
import torch
from helpers.largest_tensor import largest

from mmdvis.models.functional import frame_runs, point_sampling
from mmdvis.models.functional.layer_predictions import LayerPredictions
from mmdvis.models.losses import QuerySetLoss, query_set_loss
from mmdvis.structures import ClipTargets, StepContext
from mmdvis.testing.plain_loss import plain_loss

LAYERS, FRAMES, OBJECTS, WIDTH, SIZE = 4, 3, 2, 4, 64
AREA = SIZE * SIZE


def run(queries, matching, objects=OBJECTS, truth=(2 * SIZE, 2 * SIZE)):
    """Return a function that computes a loss and its gradients; ``truth`` is the size of the ground truth masks."""
    spans = 1 if matching == 'video' else FRAMES
    logits, embeds = (
        torch.randn(LAYERS, 1, t, queries, width, requires_grad=True) for t, width in ((spans, 6), (FRAMES, WIDTH))
    )
    features = torch.randn(1, FRAMES, WIDTH, SIZE, SIZE)
    masks = torch.rand(objects, FRAMES, *truth) > 0.5
    clip = ClipTargets(
        torch.zeros(objects, dtype=torch.long), torch.arange(1, objects + 1), masks, masks.flatten(2).any(-1)
    )
    module = QuerySetLoss(5, matching=matching, num_points=16)

    def step():
        sum(module(LayerPredictions(logits, embeds, features), [clip], StepContext()).values()).backward()

    return step


@pytest.mark.parametrize('matching', ['frame', 'first_appearance', 'video'])
def test_masks_are_those_of_objects_however_many_queries_there_are(matching, monkeypatch):
    """The largest tensor grows with the objects, not with the queries; the plain loss holds all queries and layers."""
    monkeypatch.setattr(query_set_loss, 'MAX_MASKS', 1)  # one layer at a time
    monkeypatch.setattr(point_sampling, 'READ_ON_CPU', 16)
    few, many = largest(run(10, matching)), largest(run(60, matching))
    assert few == many == OBJECTS * FRAMES * AREA
    assert largest(run(10, matching, 2 * OBJECTS)) == 2 * few
    with plain_loss():
        assert largest(run(60, matching)) >= LAYERS * 60 * AREA * (1 if matching == 'frame' else FRAMES)


@pytest.mark.parametrize('min_run', [1, 64], ids=['frame by frame', 'gathered'])
@pytest.mark.parametrize('matching', ['frame', 'first_appearance', 'video'])
def test_truth_is_never_copied_as_a_whole(matching, min_run, monkeypatch):
    """Allocations for large ground truth are limited to one mask or to sampled points."""
    monkeypatch.setattr(frame_runs, 'MIN_RUN', min_run)
    monkeypatch.setattr(point_sampling, 'READ_ON_CPU', 16)
    large = (8 * SIZE, 8 * SIZE)
    step = run(10, matching, truth=large)
    assert largest(step) <= max(OBJECTS * FRAMES * AREA, large[0] * large[1])


def test_layers_share_a_block_where_they_are_small():
    """Small layers are processed in one block."""
    assert largest(run(10, 'video')) == LAYERS * OBJECTS * FRAMES * AREA
