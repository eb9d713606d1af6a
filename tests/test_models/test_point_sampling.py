"""Sampling of mask points, and the overlaps that are counted at them."""

import pytest
import torch

from mmdvis.models.functional import frame_runs, point_sampling
from mmdvis.models.functional.frame_runs import batches, runs_of_frames
from mmdvis.models.functional.match_cost import PointOverlap
from mmdvis.models.functional.point_sampling import (
    sample_masks,
    sample_targets,
    sample_vectors,
    smallest,
    uncertain_points,
)


def test_overlaps_add_up():
    g = torch.Generator().manual_seed(0)
    logits, gt = torch.randn(4, 30, generator=g), torch.rand(2, 30, generator=g)
    whole = PointOverlap.count(logits, gt)
    parts = PointOverlap.count(logits[:, :10], gt[:, :10]) + PointOverlap.count(logits[:, 10:], gt[:, 10:])
    torch.testing.assert_close(whole.dice(), parts.dice())
    torch.testing.assert_close(whole.cross_entropy(), parts.cross_entropy())


def test_vectors_are_sampled_as_by_grid_sample():
    g = torch.Generator().manual_seed(0)
    features, coords = torch.randn(6, 5, 7, generator=g), torch.rand(50, 2, generator=g) * 1.2 - 0.1
    expected = torch.nn.functional.grid_sample(features[None], 2 * coords[None, None] - 1, align_corners=False)
    for number in (50, 5):  # many points are read as rows
        found = sample_vectors(features, coords[:number])
        torch.testing.assert_close(found, expected[0, :, 0, :number].T)


def test_samples_equal_grid_sample():
    g = torch.Generator().manual_seed(0)
    masks, coords = torch.randn(3, 2, 5, 7, generator=g), torch.rand(3, 11, 2, generator=g) * 1.2 - 0.1
    frames = torch.randint(2, (3, 11), generator=g)
    expected = torch.nn.functional.grid_sample(
        masks.flatten(0, 1)[:, None], 2 * coords.repeat_interleave(2, 0)[:, None] - 1, align_corners=False
    )[:, 0, 0]
    expected = expected.view(3, 2, 11).gather(1, frames[:, None])[:, 0]
    torch.testing.assert_close(sample_masks(masks, frames, coords), expected, atol=1e-5, rtol=1e-4)
    gt = masks > 0
    torch.testing.assert_close(
        sample_targets(gt, torch.tensor([2, 0, 0]), frames, coords), sample_masks(gt[[2, 0, 0]].float(), frames, coords)
    )


@pytest.mark.parametrize('at_once', [1, 22, 1 << 15])
def test_single_frames_are_read_as_those_of_videos(at_once, monkeypatch):
    """Single frames are sampled as floats, frames of videos are gathered; points may be shared by all rows."""
    monkeypatch.setattr(point_sampling, 'READ_ON_CPU', at_once)
    g = torch.Generator().manual_seed(0)
    gt, rows = torch.rand(4, 1, 5, 7, generator=g) > 0.5, torch.tensor([3, 0, 0, 1, 2])
    coords, frames = torch.rand(5, 11, 2, generator=g) * 1.2 - 0.1, torch.zeros(1, 1, dtype=torch.long)
    twice = torch.cat([gt, ~gt], 1)
    still, moving = (
        sample_targets(gt, rows, frames, coords),
        sample_targets(twice, rows, frames.expand(5, 11), coords),
    )
    torch.testing.assert_close(still, moving)
    torch.testing.assert_close(sample_targets(gt, rows, frames, coords[:1])[0], still[0])
    torch.testing.assert_close(sample_targets(twice, rows, frames, coords[:1])[0], still[0])


@pytest.mark.parametrize('threads, pixels', [(1, 1 << 20), (3, 1 << 20), (3, 2 * 35)])
@pytest.mark.parametrize('is_sorted', [True, False])
def test_points_sampled_frame_by_frame_are_those_gathered_one_by_one(is_sorted, threads, pixels, monkeypatch):
    """Values and gradients are equal; points of several runs in one frame and beyond the border included."""
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    monkeypatch.setattr(frame_runs, 'MAX_PIXELS', pixels)
    g = torch.Generator().manual_seed(0)
    masks = torch.randn(3, 4, 5, 7, generator=g, dtype=torch.float64, requires_grad=True)
    coords = torch.rand(3, 60, 2, generator=g, dtype=torch.float64) * 1.2 - 0.1
    frames = torch.randint(4, (3, 60), generator=g, dtype=torch.int16)
    if is_sorted:
        frames = torch.cat([frames[:, :40].sort(1).values, frames[:, 40:].sort(1).values], 1)
    truth, rows, weight = masks.detach() > 0, torch.tensor([2, 0, 0]), torch.rand(3, 60, generator=g)
    found = []
    for min_run in (1, 1000):
        monkeypatch.setattr(frame_runs, 'MIN_RUN', min_run)
        assert (runs_of_frames(frames) is None) == (min_run == 1000)
        values = sample_masks(masks, frames, coords)
        (gradient,) = torch.autograd.grad((values * weight).sum(), masks)
        found.append((values.detach(), gradient, sample_targets(truth, rows, frames, coords)))
    for by_frame, by_point in zip(*found):
        torch.testing.assert_close(by_frame, by_point)


def test_rows_may_share_their_frames():
    masks, coords = torch.randn(3, 2, 5, 7, requires_grad=True), torch.rand(3, 500, 2)
    shared = torch.zeros(1, 500, dtype=torch.int16)
    values, expected = sample_masks(masks, shared, coords), sample_masks(masks, shared.repeat(3, 1), coords)
    assert torch.equal(values, expected)
    gradients = [torch.autograd.grad(x.sum(), masks)[0] for x in (values, expected)]
    assert torch.equal(*gradients)


def test_frames_that_are_sampled_together_are_limited(monkeypatch):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 64)
    runs = runs_of_frames(torch.arange(8, dtype=torch.int16).repeat_interleave(500)[None])
    most = max(len(batch) for batch in batches(runs, (720, 1280)))
    assert most == 1 and [len(batch) for batch in batches(runs, (96, 160))] == [8]


def test_runs_hold_every_point_once_under_its_row_and_frame():
    frames = torch.tensor([[0, 0, 2, 2, 0], [2, 2, 2, 2, 2]] * 2, dtype=torch.int16)
    runs = runs_of_frames(frames.repeat_interleave(100, 1))
    assert runs.keys() == {(0, 0), (0, 2), (1, 2), (2, 0), (2, 2), (3, 2)}
    assert runs[0, 0] == [slice(0, 200), slice(400, 500)] and runs[1, 2] == [slice(0, 500)]
    assert runs_of_frames(frames) is None and runs_of_frames(frames[:, :0]) is None


def test_the_smallest_values_are_those_of_topk():
    g = torch.Generator().manual_seed(0)
    values = torch.rand(5, 90, generator=g)
    columns = smallest(values, 30)
    assert torch.equal(columns, values.topk(30, largest=False).indices.sort().values)


def test_equal_values_are_not_too_many():
    values = torch.tensor([[3.0, 1.0, 1.0, 0.0, 1.0], [2.0] * 5, [torch.nan] * 4 + [0.0]])
    assert smallest(values[:2], 3).tolist() == [[1, 2, 3], [0, 1, 2]] and smallest(values, 0).shape == (3, 0)
    assert smallest(values, 3).shape == (3, 3) and 4 in smallest(values, 3)[2].tolist()


def test_most_points_lie_where_the_mask_is_unsure():
    logits = torch.full((1, 2, 16, 16), 9.0)
    logits[0, 1, :, :4] = 0.0  # uncertain in the second frame only
    frames, coords = uncertain_points(logits, 40, 3.0, 0.75, torch.Generator().manual_seed(0))
    assert frames.shape == (1, 80) and coords.shape == (1, 80, 2)
    unsure = (frames[0, :60] == 1) & (coords[0, :60, 0] < 0.3)
    assert unsure.float().mean() > 0.45  # an eighth of the area has most of the uncertain points
