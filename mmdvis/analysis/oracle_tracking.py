"""Oracle tracking: predicted masks and classes of the segmenter, associated by the identities of the ground truth."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmdvis.models.detectors import DVIS
from mmdvis.models.functional.track_memory import mask_iou
from mmdvis.results import VideoDataSample
from mmdvis.structures import FrameSource, TrackQueries, cat_time


def gt_masks(id_map: np.ndarray, ids: Sequence[int]) -> Tensor:
    """Bool masks (N, H, W) of the objects ``ids`` in an id map (H, W)."""
    return torch.from_numpy(id_map[None] == np.array(ids).reshape(-1, 1, 1))


def match_queries(iou: Tensor, class_probs: Tensor, min_iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Matches the queries of one frame to ground truth objects.

    Args:
        iou: IoU (N, Q) of each object with the mask of each query.
        class_probs: Probability (N, Q) of the class of each object for each query.
        min_iou: Pairs with an IoU of at most ``min_iou`` are not matched.

    Returns:
        Order (Q,) of the queries: entry n < N is the query of object n, the others are the unmatched queries. Bool
        mask (N,) of the objects that have a query.
    """
    objects, queries = linear_sum_assignment(-(iou + class_probs * (iou > min_iou)).numpy())
    is_matched = iou.numpy()[objects, queries] > min_iou
    order = np.full(iou.shape[1], -1)
    order[objects[is_matched]] = queries[is_matched]
    order[order < 0] = np.setdiff1d(np.arange(iou.shape[1]), order)
    has_query = np.zeros(len(iou), bool)
    has_query[objects[is_matched]] = True
    return order, has_query


@torch.no_grad()
def predict_with_oracle_tracking(
    model: DVIS,
    source: FrameSource,
    id_maps: Sequence[np.ndarray],
    labels: dict[int, int],
    sample: VideoDataSample,
    min_iou: float = 0.25,
) -> VideoDataSample:
    """Predicts a video with the ground truth association of queries.

    In every frame, the queries are matched to the ground truth objects by mask IoU and class probability. The row of an
    object is valid in the frames where it has a query, so its class is averaged over those frames. All steps after the
    association are the same as in ``model.predict``.

    Args:
        model: Model without a refiner; the association of its tracker is replaced.
        source: Video to predict.
        id_maps: Ground truth id map (H, W) of each frame, at the original size.
        labels: Ground truth id -> class label.
        sample: Data sample that receives the result.
        min_iou: Minimum IoU (exclusive) of a query and its object.

    Raises:
        ValueError: If the model has a refiner or fewer queries than the video has objects.
    """
    tracks = cat_time([clip for clip, _ in model.propagate([source])])
    ids, num_queries = list(labels), tracks.embeds.shape[2]
    if len(ids) > num_queries or model.refiner is not None:
        raise ValueError(
            f'oracle tracking needs a model without refiner and with one query per object, got {num_queries} queries '
            f'for {len(ids)} objects and {"no" if model.refiner is None else "a"} refiner'
        )
    masks, rows = model.video_prediction(tracks, tracks, source).masks, torch.arange(num_queries)
    probs = tracks.class_logits[0].softmax(-1).cpu()
    orders, valid = [], torch.ones(len(id_maps), num_queries, dtype=torch.bool)
    for t, id_map in enumerate(id_maps):
        iou = mask_iou(gt_masks(id_map, ids), masks.probs(rows, t).cpu() >= 0.5)
        order, has_query = match_queries(iou, probs[t][:, list(labels.values())].T, min_iou)
        orders.append(torch.from_numpy(order))
        valid[t, : len(ids)] = torch.from_numpy(has_query)
    device = tracks.embeds.device
    reordered = reorder_tracks(tracks, torch.stack(orders)[None].to(device), valid[None].to(device))
    return model.postprocessor(model.video_prediction(reordered, reordered, source), model.classes).pack(sample)


def reorder_tracks(tracks: TrackQueries, order: Tensor, valid: Tensor) -> TrackQueries:
    """Replaces row q of each frame by row ``order[b, t, q]``.

    Args:
        tracks: Tracks to reorder.
        order: Row indices (B, T, Q) int64.
        valid: Validity (B, T, Q) bool of the reordered rows.
    """
    rows = {
        name: getattr(tracks, name).take_along_dim(order[..., None], 2)
        for name in ('embeds', 'class_logits', 'mask_embeds')
    }
    return replace(tracks, valid=valid, mask_bias=tracks.mask_bias.take_along_dim(order, 2), **rows)
