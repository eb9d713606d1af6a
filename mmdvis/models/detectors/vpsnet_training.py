"""Losses of VPSNet: region proposals, boxes, masks, semantic and joint panoptic segmentation, and tracking."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor

from mmdvis.models.functional.frame_truth import FrameTruth, MaskCrops, binary_masks
from mmdvis.models.functional.joint_logits import training_logits, training_target
from mmdvis.models.functional.pixel_loss import pixel_cross_entropy
from mmdvis.structures import StepContext

Pyramid = Sequence[Tensor]


def det_samples(truths: Sequence[FrameTruth], size: tuple[int, int], zero_labels: bool) -> list[DetDataSample]:
    """The truths of frames in the form of mmdet.

    Args:
        truths: Truth of each frame.
        size: (height, width) of the padded frames.
        zero_labels: Whether all objects get the label 0, as region proposals need.
    """
    samples = []
    for truth in truths:
        meta = dict(img_shape=size, pad_shape=size, batch_input_shape=size, scale_factor=(1.0, 1.0))
        labels = truth.labels * 0 if zero_labels else truth.labels
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(bboxes=truth.boxes, labels=labels, masks=MaskCrops(truth.masks))
        sample.ignored_instances = InstanceData(bboxes=truth.boxes[:0], labels=labels[:0])
        samples.append(sample)
    return samples


def seeded(context: StepContext) -> None:
    """Seeds the generators that samplers of mmdet draw from."""
    seed = int(torch.randint(0, 2**31 - 1, (1,), generator=context.generator('sampling')))
    torch.manual_seed(seed)
    np.random.seed(seed)


def region_losses(
    model: Any, pyramid: Pyramid, truths: Sequence[FrameTruth], size: tuple[int, int], context: StepContext
) -> tuple[dict[str, Tensor], list[Any]]:
    """Losses of proposals, boxes and masks, and the sampled regions of each frame.

    The samplers of mmdet draw from global generators. These are seeded from the iteration and restored, so a resumed
    run draws the same samples.
    """
    numpy_state = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        seeded(context)
        samples = det_samples(truths, size, zero_labels=True)
        losses, proposals = model.rpn_head.loss_and_predict(pyramid, samples, proposal_cfg=model.proposals)
        sampled = [
            sampled_regions(model.roi_head, proposal, sample, [level[b : b + 1] for level in pyramid])
            for b, (proposal, sample) in enumerate(zip(proposals, det_samples(truths, size, zero_labels=False)))
        ]
    np.random.set_state(numpy_state)
    box = model.roi_head.bbox_loss(pyramid, sampled)
    instances = [sample.gt_instances for sample in det_samples(truths, size, zero_labels=False)]
    mask = model.roi_head.mask_loss(pyramid, sampled, box['bbox_feats'], instances)
    return {**losses, **box['loss_bbox'], **mask['loss_mask']}, sampled


def sampled_regions(roi_head: Any, proposals: InstanceData, sample: DetDataSample, features: list[Tensor]) -> Any:
    """Assigns proposals to the objects of a frame and draws the regions that are learned from."""
    proposals.priors = proposals.pop('bboxes')
    assigned = roi_head.bbox_assigner.assign(proposals, sample.gt_instances, sample.ignored_instances)
    return roi_head.bbox_sampler.sample(assigned, proposals, sample.gt_instances, feats=features)


def chosen_mask_logits(roi_head: Any, pyramid: Pyramid, boxes: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Mask logits (n, m, m) of regions for their classes.

    Args:
        roi_head: RoI head of mmdet.
        pyramid: Feature pyramid of the frames.
        boxes: Boxes (n_b, 4) of each frame.
        labels: Classes (n,) of all of them.
    """
    rois = bbox2roi(list(boxes))
    extractor = roi_head.mask_roi_extractor
    features = extractor(pyramid[: extractor.num_inputs], rois)
    logits = roi_head.mask_head(features)
    return logits[torch.arange(len(labels), device=labels.device), labels]


def panoptic_loss(model: Any, pyramid: Pyramid, semantic: Tensor, truths: Sequence[FrameTruth]) -> Tensor:
    """Mean over the frames of the cross entropy of the joint logits of the true objects, at a quarter of the size."""
    size = (semantic.shape[-2], semantic.shape[-1])
    labels = torch.cat([truth.labels for truth in truths])
    boxes = [truth.boxes for truth in truths]
    logits = chosen_mask_logits(model.roi_head, pyramid, boxes, labels)
    losses, num_stuff = [], model.num_classes - model.num_things
    for channels, masks, truth in zip(semantic, logits.split([len(b) for b in boxes]), truths):
        joint = training_logits(channels, masks, truth.boxes / 4, truth.labels, model.num_things)
        small = binary_masks(truth.masks, size)
        target = training_target(truth.semantic[::4, ::4], small, model.num_things, num_stuff)
        losses.append(pixel_cross_entropy(joint[None], target[None]))
    return model.panoptic_weight * torch.stack(losses).mean()


def track_loss(
    model: Any,
    pyramid: Pyramid,
    references: Sequence[Pyramid],
    sampled: Sequence[Any],
    truths: Sequence[FrameTruth],
    reference_truths: Sequence[Sequence[FrameTruth]],
) -> Tensor:
    """Mean over references and frames of the loss of the track head.

    Args:
        model: The model.
        pyramid: Features of the key frames that the track head uses.
        references: Features of the N references, each of all frames of the batch.
        sampled: Sampled regions of each key frame; only those of objects are used.
        truths: Truth of each key frame.
        reference_truths: Truth of each reference, of each frame of the batch.
    """
    key_boxes = [result.pos_priors for result in sampled]
    key_ids = [truth.ids[result.pos_assigned_gt_inds] for truth, result in zip(truths, sampled)]
    embeds = model.embed(pyramid, key_boxes).split([len(boxes) for boxes in key_boxes])
    losses = []
    for features, others in zip(references, reference_truths):
        boxes = [truth.boxes for truth in others]
        other_embeds = model.embed(features, boxes).split([len(b) for b in boxes])
        for first, second, ids, truth in zip(embeds, other_embeds, key_ids, others):
            losses.append(model.track_head.loss(first, second, ids, truth.ids))
    return torch.stack(losses).mean()
