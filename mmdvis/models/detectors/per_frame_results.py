"""Results of models for images in one form."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.structures import Segment

INSTANCE_OFFSET = 1000  # mmdet numbers the segments of a panoptic map as label + 1000 * instance


@dataclass(frozen=True, eq=False)
class FrameObjects:
    """Objects and regions of one frame.

    Attributes:
        labels: Class (n,) int64 of each object.
        scores: Score (n,) of each object, in falling order.
        masks: Masks (n, H, W) bool of the objects.
        label_map: Class (H, W) of every pixel: of semantic results that of all, of panoptic ones that of stuff, and -1
            elsewhere; None for instances.
    """

    labels: Tensor
    scores: Tensor
    masks: Tensor
    label_map: Tensor | None = None


def frame_objects(
    found: Any, task: str, size: tuple[int, int], num_things: int | None, score_thr: float
) -> FrameObjects:
    """The result of a model of mmdet or mmseg for one frame.

    Args:
        found: Its sample with predictions.
        task: ``'vis'``, ``'vps'`` or ``'vss'``.
        size: (height, width) of the result.
        num_things: Number of thing classes, for ``'vps'``.
        score_thr: Instances with a lower score are left out.
    """
    if task == 'vss':
        labels = resized(found.pred_sem_seg.data[0], size)
        return FrameObjects(labels.new_zeros(0), torch.zeros(0), torch.zeros(0, *size, dtype=torch.bool), labels)
    if task == 'vps':
        values = found.pred_panoptic_seg.sem_seg
        return panoptic_objects(resized(values.reshape(-1, *values.shape[-2:])[0], size), num_things or 0)
    instances = found.pred_instances
    order = instances.scores.argsort(descending=True, stable=True)
    order = order[instances.scores[order] >= score_thr]
    masks = torch.as_tensor(instances.masks[order]).bool()
    visible = masks.flatten(1).any(1) if len(order) else torch.zeros(0, dtype=torch.bool)
    return FrameObjects(instances.labels[order][visible], instances.scores[order][visible], masks[visible])


def resized(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (h, w) of labels at another size."""
    if tuple(labels.shape) == tuple(size):
        return labels.cpu()
    return F.interpolate(labels[None, None].double(), size, mode='nearest')[0, 0].to(labels.dtype).cpu()


def panoptic_objects(values: Tensor, num_things: int) -> FrameObjects:
    """The things of a panoptic map (H, W) of mmdet, larger ones first, and its stuff."""
    labels, masks, areas = [], [], []
    stuff = torch.full(values.shape, -1, dtype=torch.long)
    for value in values.unique().tolist():
        label, mask = value % INSTANCE_OFFSET, values == value
        if label < num_things:
            labels.append(label)
            masks.append(mask)
            areas.append(int(mask.sum()))
        else:
            stuff[mask] = label
    order = sorted(range(len(labels)), key=lambda k: -areas[k])
    stacked = torch.stack([masks[k] for k in order]) if order else torch.zeros(0, *values.shape, dtype=torch.bool)
    return FrameObjects(torch.tensor([labels[k] for k in order]).long(), torch.ones(len(order)), stacked, stuff)


def segment_map(
    found: FrameObjects, numbers: Tensor, num_classes: int, num_things: int
) -> tuple[Tensor, tuple[Segment, ...]]:
    """Ids (H, W) int32 and segments of a frame; ids of stuff are 1 + s, of things 1 + S + number."""
    stuff, num_stuff = found.label_map, num_classes - num_things
    is_stuff = (stuff >= num_things) & (stuff < num_classes)
    ids = torch.where(is_stuff, stuff - num_things + 1, torch.zeros_like(stuff)).int()
    segments = [Segment(value, -1, value - 1 + num_things, False, 1.0) for value in ids.unique().tolist() if value]
    for mask, label, score, number in zip(found.masks, found.labels.tolist(), found.scores.tolist(), numbers.tolist()):
        ids[mask] = 1 + num_stuff + number
        segments.append(Segment(1 + num_stuff + number, number, label, True, score))
    return ids, tuple(sorted(segments, key=lambda segment: segment.id))
