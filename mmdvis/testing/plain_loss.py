"""Reference implementation of the set loss, for tests and as a baseline.

It computes the mask logits of all queries and layers at once and converts the ground truth to float32. The sampled
points are those of :class:`mmdvis.models.losses.QuerySetLoss` if that processes all masks in a single chunk, so losses
and gradients can be compared element by element.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.models.functional.assignment import Pairs
from mmdvis.models.functional.layer_predictions import LayerPredictions
from mmdvis.models.functional.match_cost import PointOverlap, cross_entropy_loss, dice_loss
from mmdvis.models.functional.point_sampling import uncertain_points
from mmdvis.models.losses import QuerySetLoss, query_set_loss
from mmdvis.models.losses.mask_targets import MaskTargets
from mmdvis.structures import ClipTargets, StepContext

MADE: dict[tuple[int, int], Tensor] = {}  # mask logits of all queries, shared by matching and losses of a step


def all_masks(predictions: LayerPredictions, b: int) -> Tensor:
    """Mask logits (L, Q, T, h, w) of all queries of clip ``b``, cached in ``MADE``."""
    key = id(predictions.mask_embeds), b
    if key not in MADE:
        with torch.enable_grad():
            masks = torch.einsum(
                'ltqm,tmhw->lqthw', predictions.mask_embeds[:, b].float(), predictions.mask_features[b].float()
            )
            bias = predictions.mask_bias
            MADE[key] = masks if bias is None else masks + bias[:, b].transpose(1, 2)[..., None, None]
    return MADE[key]


def plain_matched_masks(predictions: LayerPredictions, b: int, rows: np.ndarray) -> Tensor:
    """Mask logits (L, n, T, h, w) of the matched rows, selected from those of all queries."""
    masks = all_masks(predictions, b)
    return masks.take_along_dim(torch.tensor(rows, device=masks.device)[..., None, None, None], 1)


def tall(maps: Tensor) -> Tensor:
    """Stacks the frames of float maps (N, T, h, w) to (N, 1, T * (h + 1), w), each followed by a row of zeros."""
    return F.pad(maps, (0, 0, 0, 1)).flatten(1, 2)[:, None]


def sample_tall(images: Tensor, height: int, frames: Tensor, coords: Tensor) -> Tensor:
    """Samples images of vertically stacked frames at points.

    Args:
        images: Output (N, 1, T * (height + 1), w) of :func:`tall`.
        height: Height of a single frame.
        frames: Frame index (N, P) of each point.
        coords: Points (N, P, 2) as (x, y) in [0, 1] within the frame.

    Returns:
        Values (N, P).
    """
    y = (frames.long() * (height + 1) + coords[..., 1] * height) / images.shape[-2]
    grid = 2 * torch.stack([coords[..., 0], y], -1)[:, None] - 1
    return F.grid_sample(images, grid, align_corners=False)[:, 0, 0]


def sample(maps: Tensor, frames: Tensor, coords: Tensor) -> Tensor:
    """Values (N, P) of float maps (N, T, h, w) at points; see :func:`sample_tall`."""
    return sample_tall(tall(maps), maps.shape[-2], frames, coords)


def plain_sample_targets(truth: Tensor, rows: Tensor, frames: Tensor, coords: Tensor) -> Tensor:
    """Values (N, P) of ground truth masks at points.

    The reference implementation copies the masks as float32.

    Args:
        truth: Bool masks (V, T, H, W).
        rows: Mask index (N,) of each row of points.
        frames: Frame index (N, P) of each point.
        coords: Points (N, P, 2) as (x, y) in [0, 1] within the frame.
    """
    return sample_tall(tall(truth.float())[rows], truth.shape[-2], frames, coords)


def costs(
    self: QuerySetLoss, predictions: LayerPredictions, b: int, clip: ClipTargets, generator: torch.Generator
) -> Tensor:
    """Matching costs (L, Q, N) from the masks of all queries in all frames; replaces ``QuerySetLoss.costs``."""
    logits, masks, gt_masks = (
        predictions.class_logits[:, b].float(),
        all_masks(predictions, b).detach(),
        clip.masks.float(),
    )
    num_layers, num_queries, num_frames = masks.shape[:3]
    cost, video_overlap, labels, first_frames = (
        masks.new_zeros(num_layers, num_queries, len(gt_masks)),
        None,
        self.labels(clip),
        self.first_frame(clip),
    )
    by_frame = self.matching == 'first_appearance'
    for t in range(num_frames):
        objects = (first_frames == t).nonzero()[:, 0] if by_frame else torch.arange(len(gt_masks))
        if by_frame and not len(objects):
            continue
        coords = torch.rand(1, self.num_points, 2, generator=generator, device=masks.device)
        grid = 2 * coords[:, None] - 1
        values = F.grid_sample(masks[:, :, t].flatten(0, 1)[None], grid, align_corners=False)[0, :, 0]
        values = values.unflatten(0, (num_layers, num_queries))
        overlap = PointOverlap.count(
            values, F.grid_sample(gt_masks[None, objects, t], grid, align_corners=False)[0, :, 0]
        )
        if by_frame:
            cost[..., objects] = self.weigh(logits[:, min(t, logits.shape[1] - 1)], labels[objects], overlap)
        else:
            video_overlap = overlap if video_overlap is None else video_overlap + overlap
    return cost if video_overlap is None else self.weigh(logits.mean(1), labels, video_overlap)


def mask_losses(
    self: QuerySetLoss,
    predictions: LayerPredictions,
    targets: Sequence[ClipTargets],
    pairs: Sequence[Pairs],
    context: StepContext,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and dice losses (L,) of all layers at once; replaces ``QuerySetLoss.mask_losses``."""
    device, num_layers = predictions.mask_features.device, len(predictions.mask_embeds)
    masks = self.masks_of(predictions, [rows for rows, _ in pairs])
    MADE.clear()
    mask_targets = MaskTargets.of(targets, pairs, self.truth_maps, device)
    points = uncertain_points(
        masks, self.num_points, self.oversample, self.importance, context.generator('points', device)
    )
    values, targets_at_points = (
        sample(masks, *points),
        plain_sample_targets(mask_targets.units, mask_targets.rows, *points),
    )
    losses = cross_entropy_loss(values, targets_at_points), dice_loss(values.sigmoid(), targets_at_points)
    num_masks = sum(len(c.labels) * (1 if self.matching == 'video' else c.masks.shape[1]) for c in targets)
    return tuple(x.view(num_layers, -1).sum(1) / max(num_masks, 1) for x in losses)


@contextmanager
def plain_loss() -> Iterator[None]:
    """Context manager in which every ``QuerySetLoss`` uses the reference implementation."""
    with (
        patch.object(query_set_loss, 'matched_masks', plain_matched_masks),
        patch.object(query_set_loss, 'sample_masks', sample),
        patch.object(QuerySetLoss, 'costs', costs),
        patch.object(QuerySetLoss, 'mask_losses', mask_losses),
    ):
        try:
            yield
        finally:
            MADE.clear()
