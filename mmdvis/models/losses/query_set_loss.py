"""The set loss of Mask2Former for frames, clips and videos: match once, then class, mask and dice loss."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from mmdvis.models.functional.assignment import Pairs, assign, check_costs, matched_queries
from mmdvis.models.functional.layer_predictions import LayerPredictions
from mmdvis.models.functional.match_cost import PointOverlap, class_cost, cross_entropy_loss, dice_loss
from mmdvis.models.functional.point_sampling import sample_features, sample_masks, sample_targets, uncertain_points
from mmdvis.models.functional.precision import full_precision
from mmdvis.models.functional.recompute import Recomputed
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, StepContext

from .mask_targets import MaskTargets, kept_points, to_index

MAX_POINTS, MAX_MASKS = 1 << 21, 1 << 22  # candidate points that are looked at, and mask logits that are held, together


@MODELS.register_module()
class QuerySetLoss(nn.Module):
    """Matches queries to objects, then compares them.

    Args:
        num_classes: K; index K means no object.
        matching: what is matched. ``'frame'``: every frame by itself (segmenter). ``'first_appearance'``: an object is
            matched in the frame where it is first seen, to a slot that no earlier object has, and keeps that slot in all
            frames of the clip (tracker; DVIS, equation 3). ``'video'``: whole tracks (refiner).
        guided: share of the run during which the matching is computed from the predictions of the stage before
            (``guide``) and used for every layer; 0 never.
        weights: of class, mask and dice, in the losses and in the matching costs.
        no_object_weight: weight of the class no object in the cross-entropy.
        num_points: points a mask and frame.
        oversample, importance: candidates for one point, and share of points chosen where the mask is least sure.
        legacy_tall_video: sample the masks of a whole video as one tall image, so that samples at the joints mix two
            frames (with ``matching='video'`` only). All released refiners were trained so.
        legacy_frame1_match: match every object in the clip's first frame, even one that is not there yet (with
            ``matching='first_appearance'`` only). The VPS and VSS trackers of DVIS and DVIS++ were trained so.
        legacy_last_frame_labels: train an object that is not in the clip's last frame as no object, in all frames (not
            with ``matching='frame'``, which has no clips). The VIS trackers and refiners of DVIS were trained so; DVIS++
            was not.
        legacy_shared_slots: let an object take a slot that an earlier one has; the later one's class then counts (with
            ``matching='first_appearance'`` only). The trackers of DVIS were trained so; DVIS++ was not.
    """

    def __init__(
        self,
        num_classes: int,
        matching: str = 'frame',
        guided: float = 0.5,
        weights: Sequence[float] = (2.0, 5.0, 5.0),
        no_object_weight: float = 0.1,
        num_points: int = 12544,
        oversample: float = 3.0,
        importance: float = 0.75,
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
                'legacy_last_frame_labels looks at the last frame of a clip, so matching must be '
                "'first_appearance' or 'video', got 'frame'"
            )
        belongs = dict(
            legacy_tall_video=(legacy_tall_video, 'video'),
            legacy_frame1_match=(legacy_frame1_match, 'first_appearance'),
            legacy_shared_slots=(legacy_shared_slots, 'first_appearance'),
        )
        for name, (is_on, needed) in belongs.items():
            if is_on and matching != needed:
                raise ValueError(f'{name} belongs to matching={needed!r}, got matching={matching!r}')
        self.num_classes, self.matching, self.guided = num_classes, matching, guided
        self.weights = tuple(weights)
        self.num_points, self.oversample, self.importance = num_points, oversample, importance
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
        """The pairs that ``forward`` with the same arguments compares; ``matching`` is not ``'frame'``."""
        with full_precision(predictions.mask_features):
            return self.match(self.matched_by(predictions, context, guide), targets, context)

    def matched_by(
        self, predictions: LayerPredictions, context: StepContext, guide: LayerPredictions | None
    ) -> LayerPredictions:
        """The guide while it guides, else the predictions."""
        return guide if guide is not None and context.progress < self.guided else predictions

    def forward(
        self,
        predictions: LayerPredictions,
        targets: Sequence[ClipTargets],
        context: StepContext,
        guide: LayerPredictions | None = None,
        pairs: list[Pairs] | None = None,
    ) -> dict[str, Tensor]:
        """The losses of every layer.

        Args:
            predictions: of L layers on B clips.
            targets: B clips.
            context: progress and randomness.
            guide: predictions (L = 1) of the stage before, with the rows in the order of ``predictions``.
            pairs: what :meth:`pairs` gave for all this, where the caller needs it, too.

        Returns:
            ``loss_cls``, ``loss_mask``, ``loss_dice`` of the last layer, ``d{i}.loss_*`` of the layers before it.
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
        """The pairs of each clip and layer."""
        generator = context.generator('match', predictions.mask_features.device)
        costs = [self.costs(predictions, b, clip, generator) for b, clip in enumerate(targets)]
        host = torch.cat(costs, -1).cpu().numpy()  # one copy for the whole batch
        host = np.split(host, np.cumsum([cost.shape[-1] for cost in costs])[:-1], -1)
        return [
            assign(check_costs(cost, clip.name), self.first_frame(clip).cpu().numpy(), self.legacy_shared_slots)
            for cost, clip in zip(host, targets)
        ]

    def first_frame(self, clip: ClipTargets) -> Tensor:
        """(N,): the frame in which each object is matched."""
        by_frame = self.matching == 'first_appearance' and not self.legacy_frame1_match
        return clip.first_frame if by_frame else torch.zeros_like(clip.first_frame)

    def labels(self, clip: ClipTargets) -> Tensor:
        """(N,): the class each object is trained with."""
        if not self.legacy_last_frame_labels:
            return clip.labels
        return torch.where(clip.visible[:, -1], clip.labels, self.num_classes)

    def costs(self, predictions: LayerPredictions, b: int, clip: ClipTargets, generator: torch.Generator) -> Tensor:
        """Costs (L, Q, N) of clip ``b``; by first appearance, each object's from the frame in which it is first seen."""
        logits, embeds = predictions.class_logits[:, b].float(), predictions.mask_embeds[:, b].float()
        num_frames, slots = embeds.shape[1:3]
        total = embeds.new_zeros(len(embeds), slots, len(clip.labels))
        whole, labels, first = None, self.labels(clip), self.first_frame(clip)
        for t in range(num_frames):
            by_frame = self.matching == 'first_appearance'
            objects = (first == t).nonzero()[:, 0] if by_frame else torch.arange(len(clip.labels))
            if by_frame and not len(objects):
                continue
            coords = torch.rand(1, self.num_points, 2, generator=generator, device=embeds.device)
            objects = objects.to(embeds.device)
            truth = sample_targets(clip.masks[:, t : t + 1], objects, torch.zeros_like(objects[:, None]), coords)
            overlap = self.overlap(predictions, b, t, coords, truth, kept_points(clip.ignored, t, coords))
            if by_frame:
                total[..., objects] = self.weigh(logits[:, min(t, logits.shape[1] - 1)], labels[objects], overlap)
            else:
                whole = overlap if whole is None else whole + overlap
        return total if whole is None else self.weigh(logits.mean(1), labels, whole)

    def overlap(
        self, predictions: LayerPredictions, b: int, t: int, coords: Tensor, truth: Tensor, kept: Tensor | None
    ) -> PointOverlap:
        """How frame ``t`` of clip ``b`` agrees with ``truth`` (N, P) at points (1, P, 2), layer by layer."""
        features, found = predictions.mask_features[b, t : t + 1].float(), []
        points, inside = sample_features(features, coords)[0], None  # (M, P)
        if predictions.mask_bias is not None:
            inside = sample_features(torch.ones_like(features[:, :1]), coords)[0]
        for layer, embeds in enumerate(predictions.mask_embeds[:, b, t].float()):
            values = embeds @ points
            if inside is not None:
                values = values + predictions.mask_bias[layer, b, t, :, None] * inside
            found.append(PointOverlap.count(values, truth, kept))
        return PointOverlap.stack(found)

    def weigh(self, logits: Tensor, labels: Tensor, overlap: PointOverlap) -> Tensor:
        """The weighted sum (L, Q, N) of class, mask and dice cost."""
        parts = (class_cost(logits, labels), overlap.cross_entropy(), overlap.dice())
        return sum(weight * part for weight, part in zip(self.weights, parts))

    def class_losses(self, logits: Tensor, targets: Sequence[ClipTargets], pairs: Sequence[Pairs]) -> Tensor:
        """Weighted cross-entropy (L,) of logits (L, B, S, Q, K + 1); an object keeps its class in every frame."""
        truth = torch.full(logits.shape[:-1], self.num_classes, device=logits.device)
        layer = torch.arange(len(logits), device=logits.device)[:, None]
        for b, (clip, (rows, objects)) in enumerate(zip(targets, pairs)):
            rows, objects = (to_index(x, logits.device) for x in (rows, matched_queries(rows, objects)))
            truth[layer, b, :, rows] = self.labels(clip)[objects][..., None]
        values = F.cross_entropy(
            logits.float().flatten(0, -2), truth.flatten(), weight=self.empty_weight, reduction='none'
        )
        layers = len(logits)
        return values.view(layers, -1).sum(1) / self.empty_weight[truth].view(layers, -1).sum(1)

    def mask_losses(
        self,
        predictions: LayerPredictions,
        targets: Sequence[ClipTargets],
        pairs: Sequence[Pairs],
        context: StepContext,
    ) -> tuple[Tensor, Tensor]:
        """Binary cross-entropy and dice (L,) at points, summed over the matched masks and divided by their number.

        Layers go through in blocks whose masks are made, sampled and forgotten, and made again for the gradients.
        """
        device, found = predictions.mask_features.device, []
        truth, generator = MaskTargets.of(targets, pairs, self.truth_maps, device), context.generator('points', device)
        layers, per_layer = len(predictions.mask_embeds), sum(rows.shape[1] for rows, _ in pairs)
        area = predictions.mask_features[0, :, 0].numel()
        step = max(1, min(MAX_MASKS // max(per_layer * area, 1), MAX_POINTS // max(per_layer * self.num_points, 1)))
        for start in range(0, layers, step):
            block = slice(start, start + step)
            part, rows, part_truth = (
                predictions.layers(block),
                [slots[block] for slots, _ in pairs],
                truth.layers(block, layers),
            )
            with torch.no_grad():
                masks = self.masks_of(part, rows)
                frames, coords = self.draw_points(masks, predictions.mask_embeds.shape[2], generator)
                known, wanted = sample_masks(masks, frames, coords), part_truth.at(frames, coords)
                points, values = (frames, coords, known), self.point_losses(known, *wanted)

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

            found.append(Recomputed.apply(compare, values, part.mask_embeds, part.mask_features, part.mask_bias))
        number = sum(len(c.labels) * (1 if self.matching == 'video' else c.masks.shape[1]) for c in targets)
        number = torch.tensor(float(number), device=device)
        all_reduce(number, op='mean')
        return tuple(torch.cat(values).view(layers, -1).sum(1) / number.clamp(min=1) for values in zip(*found))

    def masks_of(self, predictions: LayerPredictions, rows: Sequence[np.ndarray]) -> Tensor:
        """The matched masks of some layers as units (L * U, T', h, w), all clips of a layer together."""
        return torch.cat([self.maps(matched_masks(predictions, b, slots)) for b, slots in enumerate(rows)], 1).flatten(
            0, 1
        )

    def draw_points(self, masks: Tensor, num_frames: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Frames and coordinates of the points at which each unit is compared, see :func:`uncertain_points`."""
        number = self.num_points * (num_frames if self.legacy_tall_video else 1)
        at_once = max(1, int(MAX_POINTS / (number * self.oversample * masks.shape[1])))
        drawn = [
            uncertain_points(some, number, self.oversample, self.importance, generator) for some in masks.split(at_once)
        ]
        return tuple(torch.cat(values) for values in zip(*drawn))

    @staticmethod
    def point_losses(values: Tensor, wanted: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Cross-entropy and dice loss (N,) of mask logits (N, P) at points, where they should be ``wanted``."""
        probs = values.sigmoid() if kept is None else values.sigmoid() * kept
        return cross_entropy_loss(values, wanted, kept), dice_loss(probs, wanted)

    def truth_maps(self, masks: Tensor) -> Tensor:
        """The masks (N, T, H, W) of objects as units that are compared as a whole."""
        return self.maps(masks[None])[0]

    def maps(self, masks: Tensor) -> Tensor:
        """The masks (L, n, T, h, w) as units that are compared as a whole: one a frame, or one a video."""
        if self.matching != 'video':
            return masks.flatten(1, 2).unsqueeze(2)
        return masks.flatten(2, 3).unsqueeze(2) if self.legacy_tall_video else masks


def split_frames(predictions: LayerPredictions) -> LayerPredictions:
    """The same predictions with every frame as a clip of its own: B becomes B * T, T becomes 1."""
    bias = predictions.mask_bias
    return LayerPredictions(
        predictions.class_logits.flatten(1, 2).unsqueeze(2),
        predictions.mask_embeds.flatten(1, 2).unsqueeze(2),
        predictions.mask_features.flatten(0, 1).unsqueeze(1),
        None if bias is None else bias.flatten(1, 2).unsqueeze(2),
    )


def matched_masks(predictions: LayerPredictions, b: int, rows: np.ndarray) -> Tensor:
    """Mask logits (L, n, T, h, w) of the matched rows (L, n) of clip ``b``; the only masks that training multiplies out."""
    features = predictions.mask_features[b].float()
    rows = to_index(rows, features.device)
    index = rows[:, None, :].expand(-1, features.shape[0], -1)  # (L, T, n)
    embeds = predictions.mask_embeds[:, b].float().take_along_dim(index[..., None], 2)
    masks = torch.einsum('ltnm,tmhw->lnthw', embeds, features)
    if predictions.mask_bias is not None:
        masks = masks + predictions.mask_bias[:, b].take_along_dim(index, 2).transpose(1, 2)[..., None, None]
    return masks
