"""The ceiling of association: a segmenter's own masks and classes, tracked with the identities of the ground truth."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmdvis.models.detectors import DVIS
from mmdvis.structures import FrameSource, TrackQueries, VideoDataSample, cat_time


def gt_masks(id_map: np.ndarray, ids: Sequence[int]) -> Tensor:
    """Masks (N, H, W) bool of the objects ``ids`` in a map of ids (H, W)."""
    return torch.from_numpy(id_map[None] == np.array(ids).reshape(-1, 1, 1))


def mask_iou(predicted: Tensor, truth: Tensor) -> Tensor:
    """IoU (N, Q) of bool masks (Q, H, W) with bool masks (N, H, W); 0 for two empty ones."""
    a, b = truth.flatten(1).float(), predicted.flatten(1).float()
    shared = a @ b.T
    return shared / (a.sum(1, keepdim=True) + b.sum(1) - shared).clamp(min=1)


def match_queries(iou: Tensor, class_probs: Tensor, min_iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Which query of one frame is which object.

    Args:
        iou (N, Q), class_probs (N, Q): overlap with each object, and probability of its class.
        min_iou: a query must overlap an object by more to stand for it.

    Returns:
        order (Q,): row n < N is object n, the other rows are the queries nobody took; taken (N,) bool: whether object n
        has a query.
    """
    objects, queries = linear_sum_assignment(-(iou + class_probs * (iou > min_iou)).numpy())
    good = iou.numpy()[objects, queries] > min_iou
    order = np.full(iou.shape[1], -1)
    order[objects[good]] = queries[good]
    order[order < 0] = np.setdiff1d(np.arange(iou.shape[1]), order)
    taken = np.zeros(len(iou), bool)
    taken[objects[good]] = True
    return order, taken


@torch.no_grad()
def predict_with_oracle_tracking(
    model: DVIS,
    source: FrameSource,
    id_maps: Sequence[np.ndarray],
    labels: dict[int, int],
    sample: VideoDataSample,
    min_iou: float = 0.25,
) -> VideoDataSample:
    """What the model would say of a video if every query were given to the object it shows.

    In every frame the queries are matched to the objects by mask IoU and class; an object's row is valid where it has a
    query, so its class is the mean of those frames. Everything after the association is as in ``model.predict``.

    Args:
        model: without refiner; its tracker's order is not used.
        source: the video.
        id_maps: the true ids (H, W) of each frame, at the original size.
        labels: true id -> label.
        sample: what the result is packed into.
        min_iou: a query must overlap an object by more to stand for it.

    Raises:
        ValueError: the model has a refiner, or fewer queries than the video has objects.
    """
    tracks = cat_time([clip for clip, _ in model.propagate([source])])
    ids, slots = list(labels), tracks.embeds.shape[2]
    if len(ids) > slots or model.refiner is not None:
        raise ValueError(
            f'the ceiling needs a model without refiner and with a query for each object, got {slots} queries for '
            f'{len(ids)} objects and {"no" if model.refiner is None else "a"} refiner'
        )
    masks, rows = model.video_prediction(tracks, tracks, source).masks, torch.arange(slots)
    probs = tracks.class_logits[0].softmax(-1).cpu()
    orders, valid = [], torch.ones(len(id_maps), slots, dtype=torch.bool)
    for t, id_map in enumerate(id_maps):
        iou = mask_iou(masks.probs(rows, t).cpu() >= 0.5, gt_masks(id_map, ids))
        order, taken = match_queries(iou, probs[t][:, list(labels.values())].T, min_iou)
        orders.append(torch.from_numpy(order))
        valid[t, : len(ids)] = torch.from_numpy(taken)
    device = tracks.embeds.device
    named = reorder_tracks(tracks, torch.stack(orders)[None].to(device), valid[None].to(device))
    return model.postprocessor(model.video_prediction(named, named, source), model.classes).pack(sample)


def reorder_tracks(tracks: TrackQueries, order: Tensor, valid: Tensor) -> TrackQueries:
    """Row ``order[b, t, q]`` in place of row q, with other ``valid`` flags; both (B, T, Q)."""
    rows = {
        name: getattr(tracks, name).take_along_dim(order[..., None], 2)
        for name in ('embeds', 'class_logits', 'mask_embeds')
    }
    return replace(tracks, valid=valid, mask_bias=tracks.mask_bias.take_along_dim(order, 2), **rows)
