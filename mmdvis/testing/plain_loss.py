"""The set loss in its plain form, for tests and as a baseline: masks of all slots and layers at once, ground truth in float32.

Points are those of :class:`mmdvis.models.losses.QuerySetLoss` where that needs no more than one portion, so that losses and
gradients can be compared number by number.
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

MADE: dict[tuple[int, int], Tensor] = {}  # masks of every slot, made once for matching and losses of a step


def all_masks(predictions: LayerPredictions, b: int) -> Tensor:
    """Mask logits (L, Q, T, h, w) of every slot of clip ``b``; made once."""
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
    """Mask logits (L, n, T, h, w) of the matched rows, picked from those of every slot."""
    masks = all_masks(predictions, b)
    return masks.take_along_dim(torch.tensor(rows, device=masks.device)[..., None, None, None], 1)


def tall(maps: Tensor) -> Tensor:
    """Float maps (N, T, h, w) as one tall image each (N, 1, T * (h + 1), w), with a line of zeros after every frame."""
    return F.pad(maps, (0, 0, 0, 1)).flatten(1, 2)[:, None]


def sample_tall(images: Tensor, height: int, frames: Tensor, coords: Tensor) -> Tensor:
    """Values (N, P) of tall images at points of frames of a ``height``."""
    lines = (frames.long() * (height + 1) + coords[..., 1] * height) / images.shape[-2]
    grid = 2 * torch.stack([coords[..., 0], lines], -1)[:, None] - 1
    return F.grid_sample(images, grid, align_corners=False)[:, 0, 0]


def sample(maps: Tensor, frames: Tensor, coords: Tensor) -> Tensor:
    """Values (N, P) of float maps (N, T, h, w) at points."""
    return sample_tall(tall(maps), maps.shape[-2], frames, coords)


def plain_sample_targets(truth: Tensor, rows: Tensor, frames: Tensor, coords: Tensor) -> Tensor:
    """Values (N, P) of masks that are copied as float32."""
    return sample_tall(tall(truth.float())[rows], truth.shape[-2], frames, coords)


def costs(
    self: QuerySetLoss, predictions: LayerPredictions, b: int, clip: ClipTargets, generator: torch.Generator
) -> Tensor:
    """Costs (L, Q, N), from the masks of every slot in every frame."""
    logits, masks, truth = (
        predictions.class_logits[:, b].float(),
        all_masks(predictions, b).detach(),
        clip.masks.float(),
    )
    layers, slots, num_frames = masks.shape[:3]
    total, whole, labels, first = (
        masks.new_zeros(layers, slots, len(truth)),
        None,
        self.labels(clip),
        self.first_frame(clip),
    )
    by_frame = self.matching == 'first_appearance'
    for t in range(num_frames):
        objects = (first == t).nonzero()[:, 0] if by_frame else torch.arange(len(truth))
        if by_frame and not len(objects):
            continue
        coords = torch.rand(1, self.num_points, 2, generator=generator, device=masks.device)
        grid = 2 * coords[:, None] - 1
        values = F.grid_sample(masks[:, :, t].flatten(0, 1)[None], grid, align_corners=False)[0, :, 0]
        values = values.unflatten(0, (layers, slots))
        overlap = PointOverlap.count(values, F.grid_sample(truth[None, objects, t], grid, align_corners=False)[0, :, 0])
        if by_frame:
            total[..., objects] = self.weigh(logits[:, min(t, logits.shape[1] - 1)], labels[objects], overlap)
        else:
            whole = overlap if whole is None else whole + overlap
    return total if whole is None else self.weigh(logits.mean(1), labels, whole)


def mask_losses(
    self: QuerySetLoss,
    predictions: LayerPredictions,
    targets: Sequence[ClipTargets],
    pairs: Sequence[Pairs],
    context: StepContext,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and dice (L,), everything at once."""
    device, layers = predictions.mask_features.device, len(predictions.mask_embeds)
    masks = self.masks_of(predictions, [rows for rows, _ in pairs])
    MADE.clear()
    truth = MaskTargets.of(targets, pairs, self.truth_maps, device)
    points = uncertain_points(
        masks, self.num_points, self.oversample, self.importance, context.generator('points', device)
    )
    values, wanted = sample(masks, *points), plain_sample_targets(truth.units, truth.rows, *points)
    losses = cross_entropy_loss(values, wanted), dice_loss(values.sigmoid(), wanted)
    number = sum(len(c.labels) * (1 if self.matching == 'video' else c.masks.shape[1]) for c in targets)
    return tuple(x.view(layers, -1).sum(1) / max(number, 1) for x in losses)


@contextmanager
def plain_loss() -> Iterator[None]:
    """Lets every set loss take the plain way inside a ``with``."""
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
