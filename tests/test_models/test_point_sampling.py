"""Sampling of mask points, and the overlaps that are counted at them."""

import pytest
import torch

from mmdvis.models.functional import point_sampling
from mmdvis.models.functional.match_cost import PointOverlap
from mmdvis.models.functional.point_sampling import sample_masks, sample_targets, uncertain_points


def test_overlaps_add_up():
    g = torch.Generator().manual_seed(0)
    logits, gt = torch.randn(4, 30, generator=g), torch.rand(2, 30, generator=g)
    whole = PointOverlap.count(logits, gt)
    parts = PointOverlap.count(logits[:, :10], gt[:, :10]) + PointOverlap.count(logits[:, 10:], gt[:, 10:])
    torch.testing.assert_close(whole.dice(), parts.dice())
    torch.testing.assert_close(whole.cross_entropy(), parts.cross_entropy())


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


def test_most_points_lie_where_the_mask_is_unsure():
    logits = torch.full((1, 2, 16, 16), 9.0)
    logits[0, 1, :, :4] = 0.0  # uncertain in the second frame only
    frames, coords = uncertain_points(logits, 40, 3.0, 0.75, torch.Generator().manual_seed(0))
    assert frames.shape == (1, 80) and coords.shape == (1, 80, 2)
    unsure = (frames[0, :60] == 1) & (coords[0, :60, 0] < 0.3)
    assert unsure.float().mean() > 0.45  # an eighth of the area has most of the uncertain points
