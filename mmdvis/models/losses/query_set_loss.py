"""Set loss of Mask2Former for frames, clips and videos: matching, then class, mask and dice losses."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmdvis.checks import check_choice
from mmdvis.models.functional.assignment import Pairs, assign, check_costs, matched_queries
from mmdvis.models.functional.layer_predictions import LayerPredictions
from mmdvis.models.functional.match_cost import PointOverlap, class_cost, cross_entropy_loss, dice_loss
from mmdvis.models.functional.point_sampling import (
    sample_features,
    sample_masks,
    sample_targets,
    sample_vectors,
    uncertain_points,
)
from mmdvis.models.functional.precision import full_precision
from mmdvis.models.functional.recompute import Recomputed
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, StepContext

from .mask_targets import MaskTargets, kept_points, to_index

MAX_POINTS, MAX_MASKS = 1 << 21, 1 << 22  # maximum candidate points, and mask logits, per chunk


@MODELS.register_module()
class QuerySetLoss(nn.Module):
    """Matches queries to objects and computes the losses of the matched pairs.

    Args:
        num_classes: Number of classes K; label K is no object.
        matching: ``'frame'`` matches every frame independently (segmenter). ``'first_appearance'`` matches an object in
            the first frame in which it is visible, to a query without an earlier object, and keeps this query in all
            frames of the clip (tracker; DVIS, equation 3). ``'video'`` matches whole tracks (refiner).
        guided: Fraction of the training in [0, 1] during which the matching is computed from the predictions of the
            previous stage (``guide``) and used for all layers; 0 disables it.
        weights: Weights of the class, mask and dice terms, in the losses and in the matching costs.
        no_object_weight: Weight of the no-object class in the cross-entropy.
        num_points: Number of sampled points per mask and frame.
        importance_sampling: Number of candidates per sampled point, and fraction of the points that are selected where
            the mask is most uncertain.
        plugins: Configs of losses that replace the defaults, by name: ``mask`` (default: binary cross-entropy) and
            ``dice``. They are called as ``loss(logits, gt, reduction_override='none')`` with (N, P) each, as the losses
            of mmdet are, and return (N,) or (N, P).
        legacy_tall_video: Whether to sample the masks of a video as one image of vertically stacked frames, so that
            samples at frame boundaries mix two frames; requires ``matching='video'``. All released refiners were
            trained with it.
        legacy_frame1_match: Whether to match every object in the first frame of the clip, even if it is not visible
            there; requires ``matching='first_appearance'``. The VPS and VSS trackers of DVIS and DVIS++ were trained
            with it.
        legacy_last_frame_labels: Whether to label an object that is not visible in the last frame of the clip as no
            object in all frames; not with ``matching='frame'``. The VIS trackers and refiners of DVIS were trained with
            it, those of DVIS++ were not.
        legacy_shared_slots: Whether an object may be matched to the query of an earlier object; the class of the later
            object is then used. Requires ``matching='first_appearance'``. The trackers of DVIS were trained with it,
            those of DVIS++ were not.
    """

    def __init__(
        self,
        num_classes: int,
        matching: str = 'frame',
        guided: float = 0.5,
        weights: Sequence[float] = (2.0, 5.0, 5.0),
        no_object_weight: float = 0.1,
        num_points: int = 12544,
        importance_sampling: tuple[float, float] = (3.0, 0.75),
        plugins: dict | None = None,
        legacy_tall_video: bool = False,
        legacy_frame1_match: bool = False,
        legacy_last_frame_labels: bool = False,
        legacy_shared_slots: bool = False,
    ) -> None:
        super().__init__()
        if matching not in ('frame', 'first_appearance', 'video'):
            raise ValueError(f"matching must be 'frame', 'first_appearance' or 'video', got {matching!r}")
        if legacy_last_frame_labels and matching == 'frame':
            raise ValueError(
                "legacy_last_frame_labels requires matching='first_appearance' or matching='video', got "
                "matching='frame'"
            )
        required_matching = dict(
            legacy_tall_video=(legacy_tall_video, 'video'),
            legacy_frame1_match=(legacy_frame1_match, 'first_appearance'),
            legacy_shared_slots=(legacy_shared_slots, 'first_appearance'),
        )
        for name, (is_enabled, required) in required_matching.items():
            if is_enabled and matching != required:
                raise ValueError(f'{name} requires matching={required!r}, got matching={matching!r}')
        self.num_classes, self.matching, self.guided = num_classes, matching, guided
        self.weights = tuple(weights)
        self.num_points = num_points
        self.oversample, self.importance = importance_sampling
        for name in plugins or {}:
            check_choice('a plugin', name, ('mask', 'dice'))
        self.plugins = nn.ModuleDict({name: MODELS.build(config) for name, config in (plugins or {}).items()})
        self.legacy_tall_video, self.legacy_frame1_match = legacy_tall_video, legacy_frame1_match
        self.legacy_last_frame_labels, self.legacy_shared_slots = legacy_last_frame_labels, legacy_shared_slots
        weight = torch.ones(num_classes + 1)
        weight[-1] = no_object_weight
        self.register_buffer('empty_weight', weight, persistent=False)

    def pairs(
        self,
        predictions: LayerPredictions,
        targets: Sequence[ClipTargets],
        context: StepContext,
        guide: LayerPredictions | None = None,
    ) -> list[Pairs]:
        """Matched pairs that :meth:`forward` uses for the same arguments.

        With ``matching='frame'``, there are B * T of them, and their objects are those that are visible in the frame.
        """
        with full_precision(predictions.mask_features):
            if self.matching == 'frame':
                predictions, guide = split_frames(predictions), None if guide is None else split_frames(guide)
                targets = [frame for clip in targets for frame in clip.frames()]
            return self.match(self.matched_by(predictions, context, guide), targets, context)

    def matched_by(
        self, predictions: LayerPredictions, context: StepContext, guide: LayerPredictions | None
    ) -> LayerPredictions:
        """Predictions used for matching: the guide during guided training, otherwise ``predictions``."""
        return guide if guide is not None and context.progress < self.guided else predictions

    def forward(
        self,
        predictions: LayerPredictions,
        targets: Sequence[ClipTargets],
        context: StepContext,
        guide: LayerPredictions | None = None,
        pairs: list[Pairs] | None = None,
    ) -> dict[str, Tensor]:
        """Losses of all layers.

        Args:
            predictions: Predictions of L layers for B clips.
            targets: Ground truth of the B clips.
            context: Training progress and random generators.
            guide: Predictions (L = 1) of the previous stage, with the rows in the order of ``predictions``.
            pairs: Result of :meth:`pairs` for the same arguments, if already computed.

        Returns:
            ``loss_cls``, ``loss_mask`` and ``loss_dice`` of the last layer, and ``d{i}.loss_*`` of the previous layers.
        """
        with full_precision(predictions.mask_features):
            if self.matching == 'frame':
                predictions, guide = split_frames(predictions), None if guide is None else split_frames(guide)
                targets = [frame for clip in targets for frame in clip.frames()]
            if pairs is None:
                pairs = self.match(self.matched_by(predictions, context, guide), targets, context)
            layers = len(predictions.class_logits)
            pairs = [tuple(np.broadcast_to(side, (layers, side.shape[1])) for side in pair) for pair in pairs]
            classes = self.class_losses(predictions.class_logits, targets, pairs)
            masks, dices = self.mask_losses(predictions, targets, pairs, context)
        losses = {}
        for i in range(layers):
            prefix = '' if i == layers - 1 else f'd{i}.'
            for name, weight, values in zip(('cls', 'mask', 'dice'), self.weights, (classes, masks, dices)):
                losses[f'{prefix}loss_{name}'] = weight * values[i]
        return losses

    @torch.no_grad()
    def match(self, predictions: LayerPredictions, targets: Sequence[ClipTargets], context: StepContext) -> list[Pairs]:
        """Matched pairs of each clip, for all layers."""
        generator = context.generator('match', predictions.mask_features.device)
        costs = [self.costs(predictions, b, clip, generator) for b, clip in enumerate(targets)]
        host = torch.cat(costs, -1).cpu().numpy()  # one copy for the whole batch
        host = np.split(host, np.cumsum([cost.shape[-1] for cost in costs])[:-1], -1)
        return [
            assign(check_costs(cost, clip.name), self.first_frame(clip).cpu().numpy(), self.legacy_shared_slots)
            for cost, clip in zip(host, targets)
        ]

    def first_frame(self, clip: ClipTargets) -> Tensor:
        """Index (N,) of the frame in which each object is matched."""
        by_frame = self.matching == 'first_appearance' and not self.legacy_frame1_match
        return clip.first_frame if by_frame else torch.zeros_like(clip.first_frame)

    def labels(self, clip: ClipTargets) -> Tensor:
        """Training label (N,) of each object."""
        if not self.legacy_last_frame_labels:
            return clip.labels
        return torch.where(clip.visible[:, -1], clip.labels, self.num_classes)

    def costs(self, predictions: LayerPredictions, b: int, clip: ClipTargets, generator: torch.Generator) -> Tensor:
        """Matching costs of one clip.

        With ``matching='first_appearance'``, the cost of an object is computed in the frame of :meth:`first_frame`.

        Args:
            predictions: Predictions of all clips.
            b: Index of the clip.
            clip: Ground truth of the clip.
            generator: Random generator on the device of the predictions.

        Returns:
            Costs (L, Q, N).
        """
        logits, embeds = predictions.class_logits[:, b].float(), predictions.mask_embeds[:, b].float()
        num_frames, slots = embeds.shape[1:3]
        total = embeds.new_zeros(len(embeds), slots, len(clip.labels))
        summed_overlap, labels, first = None, self.labels(clip), self.first_frame(clip)
        for t in range(num_frames):
            by_frame = self.matching == 'first_appearance'
            objects = (first == t).nonzero()[:, 0] if by_frame else torch.arange(len(clip.labels))
            if by_frame and not len(objects):
                continue
            coords = torch.rand(1, self.num_points, 2, generator=generator, device=embeds.device)
            objects = objects.to(embeds.device)
            gt_values = sample_targets(clip.masks[:, t : t + 1], objects, torch.zeros_like(objects[:, None]), coords)
            overlap = self.overlap(predictions, b, t, coords, gt_values, kept_points(clip.ignored, t, coords))
            if by_frame:
                total[..., objects] = self.weigh(logits[:, min(t, logits.shape[1] - 1)], labels[objects], overlap)
            else:
                summed_overlap = overlap if summed_overlap is None else summed_overlap + overlap
        return total if summed_overlap is None else self.weigh(logits.mean(1), labels, summed_overlap)

    def overlap(
        self, predictions: LayerPredictions, b: int, t: int, coords: Tensor, truth: Tensor, kept: Tensor | None
    ) -> PointOverlap:
        """Agreement of all queries with the ground truth of one frame, for all layers.

        Args:
            predictions: Predictions of all clips.
            b: Index of the clip.
            t: Index of the frame.
            coords: Normalised (x, y) coordinates (1, P, 2) of the points.
            truth: Ground truth (N, P) in [0, 1] at the points.
            kept: Bool (P,), True for the points that are not ignored, or None.
        """
        features, overlaps, inside = predictions.mask_features[b, t].float(), [], None
        points = sample_vectors(features, coords[0]).T  # (M, P)
        if predictions.mask_bias is not None:
            inside = sample_features(torch.ones_like(features[None, :1]), coords)[0]
        for layer, embeds in enumerate(predictions.mask_embeds[:, b, t].float()):
            values = embeds @ points
            if inside is not None:
                values += predictions.mask_bias[layer, b, t, :, None] * inside
            overlaps.append(PointOverlap.count(values, truth, kept))
        return PointOverlap.stack(overlaps)

    def weigh(self, logits: Tensor, labels: Tensor, overlap: PointOverlap) -> Tensor:
        """Weighted sum (L, Q, N) of the class, mask and dice costs."""
        parts = (class_cost(logits, labels), overlap.cross_entropy(), overlap.dice())
        return sum(weight * part for weight, part in zip(self.weights, parts))

    def class_losses(self, logits: Tensor, targets: Sequence[ClipTargets], pairs: Sequence[Pairs]) -> Tensor:
        """Weighted cross-entropy (L,) of class logits (L, B, S, Q, K + 1); an object has one label for all frames."""
        gt_labels = torch.full(logits.shape[:-1], self.num_classes, device=logits.device)
        layer = torch.arange(len(logits), device=logits.device)[:, None]
        for b, (clip, (rows, objects)) in enumerate(zip(targets, pairs)):
            rows, objects = (to_index(x, logits.device) for x in (rows, matched_queries(rows, objects)))
            gt_labels[layer, b, :, rows] = self.labels(clip)[objects][..., None]
        values = F.cross_entropy(
            logits.float().flatten(0, -2), gt_labels.flatten(), weight=self.empty_weight, reduction='none'
        )
        layers = len(logits)
        return values.view(layers, -1).sum(1) / self.empty_weight[gt_labels].view(layers, -1).sum(1)

    def mask_losses(
        self,
        predictions: LayerPredictions,
        targets: Sequence[ClipTargets],
        pairs: Sequence[Pairs],
        context: StepContext,
    ) -> tuple[Tensor, Tensor]:
        """Binary cross-entropy and dice losses (L,) at sampled points.

        They are summed over the matched masks and divided by the number of ground-truth masks, averaged over all
        processes.

        Layers are processed in blocks. The masks of a block are computed, sampled and freed, and recomputed in the
        backward pass.
        """
        device, losses = predictions.mask_features.device, []
        gt_masks, generator = (
            MaskTargets.of(targets, pairs, self.truth_maps, device),
            context.generator('points', device),
        )
        layers, per_layer = len(predictions.mask_embeds), sum(rows.shape[1] for rows, _ in pairs)
        area = predictions.mask_features[0, :, 0].numel()
        step = max(1, min(MAX_MASKS // max(per_layer * area, 1), MAX_POINTS // max(per_layer * self.num_points, 1)))
        for start in range(0, layers, step):
            block = slice(start, start + step)
            part, rows, part_targets = (
                predictions.layers(block),
                [slots[block] for slots, _ in pairs],
                gt_masks.layers(block, layers),
            )
            with torch.no_grad():
                masks = self.masks_of(part, rows)
                frames, coords = self.draw_points(masks, predictions.mask_embeds.shape[2], generator)
                point_logits, wanted = sample_masks(masks, frames, coords), part_targets.at(frames, coords)
                points, values = (frames, coords, point_logits), self.point_losses(point_logits, *wanted)

            def compare(
                embeds: Tensor,
                features: Tensor,
                bias: Tensor | None,
                logits: Tensor = part.class_logits,
                rows: Sequence[np.ndarray] = rows,
                points: tuple[Tensor, ...] = points,
                wanted: tuple[Tensor | None, ...] = wanted,
            ) -> tuple[Tensor, Tensor]:
                masks = self.masks_of(LayerPredictions(logits, embeds, features, bias), rows)
                return self.point_losses(sample_masks(masks, *points), *wanted)

            losses.append(Recomputed.apply(compare, values, part.mask_embeds, part.mask_features, part.mask_bias))
        number = sum(len(c.labels) * (1 if self.matching == 'video' else c.masks.shape[1]) for c in targets)
        number = torch.tensor(float(number), device=device)
        all_reduce(number, op='mean')
        return tuple(torch.cat(values).view(layers, -1).sum(1) / number.clamp(min=1) for values in zip(*losses))

    def masks_of(self, predictions: LayerPredictions, rows: Sequence[np.ndarray]) -> Tensor:
        """Matched masks of some layers as units (L * U, T', h, w), with all clips of a layer together."""
        return torch.cat([self.maps(matched_masks(predictions, b, slots)) for b, slots in enumerate(rows)], 1).flatten(
            0, 1
        )

    def draw_points(self, masks: Tensor, num_frames: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Samples the frames and coordinates of the points of each unit; see :func:`uncertain_points`."""
        number = self.num_points * (num_frames if self.legacy_tall_video else 1)
        at_once = max(1, int(MAX_POINTS / (number * self.oversample * masks.shape[1])))
        drawn = [
            uncertain_points(chunk, number, self.oversample, self.importance, generator)
            for chunk in masks.split(at_once)
        ]
        return tuple(torch.cat(values) for values in zip(*drawn))

    def point_losses(self, values: Tensor, wanted: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Cross-entropy and dice losses of each unit at points.

        Args:
            values: Mask logits (N, P).
            wanted: Ground truth (N, P) in [0, 1].
            kept: Weight (N, P), 0 at ignored points and 1 elsewhere, or None.

        Returns:
            Cross-entropy (N,) and dice loss (N,).
        """
        probs = values.sigmoid() if kept is None else values.sigmoid() * kept
        losses = {name: row_loss(plugin, values, wanted, kept) for name, plugin in self.plugins.items()}
        mask = losses['mask'] if 'mask' in losses else cross_entropy_loss(values, wanted, kept)
        return mask, losses['dice'] if 'dice' in losses else dice_loss(probs, wanted)

    def truth_maps(self, masks: Tensor) -> Tensor:
        """Ground-truth units of the object masks (N, T, H, W)."""
        return self.maps(masks[None])[0]

    def maps(self, masks: Tensor) -> Tensor:
        """Units of the masks (L, n, T, h, w): one per frame, or one per video."""
        if self.matching != 'video':
            return masks.flatten(1, 2).unsqueeze(2)
        return masks.flatten(2, 3).unsqueeze(2) if self.legacy_tall_video else masks


def row_loss(loss: nn.Module, logits: Tensor, gt: Tensor, kept: Tensor | None) -> Tensor:
    """A plug-in loss (N,) of mask logits and ground truth (N, P); ``kept`` (N, P) is 0 at ignored points."""
    if kept is not None:
        logits, gt = logits.masked_fill(kept == 0, -1e4), gt * kept  # an ignored point is background, surely
    values = loss(logits, gt, reduction_override='none')
    if values.dim() == 1:
        return values
    return values.mean(-1) if kept is None else (values * kept).sum(-1) / kept.sum(-1).clamp(min=1)


def split_frames(predictions: LayerPredictions) -> LayerPredictions:
    """Converts every frame to a clip of one frame: B becomes B * T, T becomes 1."""
    bias = predictions.mask_bias
    return LayerPredictions(
        predictions.class_logits.flatten(1, 2).unsqueeze(2),
        predictions.mask_embeds.flatten(1, 2).unsqueeze(2),
        predictions.mask_features.flatten(0, 1).unsqueeze(1),
        None if bias is None else bias.flatten(1, 2).unsqueeze(2),
    )


def matched_masks(predictions: LayerPredictions, b: int, rows: np.ndarray) -> Tensor:
    """Mask logits (L, n, T, h, w) of the matched rows (L, n) of clip ``b``; no other masks are computed in training."""
    features = predictions.mask_features[b].float()
    rows = to_index(rows, features.device)
    index = rows[:, None, :].expand(-1, features.shape[0], -1)  # (L, T, n)
    embeds = predictions.mask_embeds[:, b].float().take_along_dim(index[..., None], 2)
    masks = torch.einsum('ltnm,tmhw->lnthw', embeds, features)
    if predictions.mask_bias is not None:
        masks = masks + predictions.mask_bias[:, b].take_along_dim(index, 2).transpose(1, 2)[..., None, None]
    return masks
