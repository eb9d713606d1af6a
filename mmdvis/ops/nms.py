"""Non-maximum suppression: greedy, soft, and with the lists of suppressed boxes."""

import torch
from torch import Tensor

from .precision import wide

BLOCK = 256  # boxes that are compared with each other at once
NAIVE, LINEAR = 0, 1  # methods of soft NMS; 2 is Gaussian


def pairwise_iou(first: Tensor, second: Tensor, offset: float) -> Tensor:
    """IoU (n, m) of boxes (n, 4) and (m, 4) as x1, y1, x2, y2; NaN for two empty boxes.

    Args:
        first: Boxes (n, 4).
        second: Boxes (m, 4).
        offset: 1 if the right and bottom edges belong to a box, else 0.
    """
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    common = (high - low + offset).clamp(min=0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2] + offset).prod(-1) for boxes in (first, second)]
    return common / (areas[0][:, None] + areas[1][None] - common)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression.

    Sorted boxes are processed in blocks. Inside a block, "kept unless a kept box before it overlaps" is iterated to its
    fixed point, which is the greedy result; the survivors then suppress the boxes after the block.

    Args:
        boxes: Boxes (n, 4) as x1, y1, x2, y2.
        scores: Scores (n,).
        iou_threshold: A box is suppressed by a better one if their IoU is larger.
        offset: See :func:`pairwise_iou`.

    Returns:
        Indices (k,) int64 of the kept boxes in descending order of score; of equal scores, the first comes first.
    """
    order = scores.sort(descending=True, stable=True).indices
    ranked = wide(boxes)[order]
    alive = torch.ones(len(ranked), dtype=torch.bool, device=boxes.device)
    for start in range(0, len(ranked), BLOCK):
        stop = start + BLOCK
        block, candidates = ranked[start:stop], alive[start:stop].clone()
        overlaps = (pairwise_iou(block, block, offset) > iou_threshold).triu(1)
        kept = candidates
        while True:
            updated = candidates & ~(overlaps & kept[:, None]).any(0)
            if torch.equal(updated, kept):
                break
            kept = updated
        alive[start:stop] = kept
        if stop < len(ranked) and kept.any():
            alive[stop:] &= ~(pairwise_iou(block[kept], ranked[stop:], offset) > iou_threshold).any(0)
    return order[alive]


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft non-maximum suppression: overlapping boxes get lower scores.

    Args:
        boxes: Boxes (n, 4) as x1, y1, x2, y2.
        scores: Scores (n,).
        dets: Output (n, 5); its first k rows become the boxes and their final scores.
        iou_threshold: IoU from which the methods 0 and 1 lower a score.
        sigma: Width of the method 2.
        min_score: Boxes whose score falls below it are dropped, except the best one.
        method: 0: the score becomes 0; 1: it is multiplied by 1 - IoU; 2: by exp(-IoU ** 2 / sigma).
        offset: See :func:`pairwise_iou`.

    Returns:
        Indices (k,) int64 of the kept boxes, in the order in which they were chosen.
    """
    rest, values = torch.arange(len(boxes), device=boxes.device), wide(scores).clone()
    exact = wide(boxes)
    chosen: list[Tensor] = []
    while len(rest):
        best = rest[values[rest].argmax()]
        dets[len(chosen)] = torch.cat([exact[best], values[best, None]]).to(dets.dtype)
        chosen.append(best)
        rest = rest[rest != best]
        overlaps = pairwise_iou(exact[best, None], exact[rest], offset)[0]
        if method == NAIVE:
            shares = (overlaps < iou_threshold).to(overlaps.dtype)
        elif method == LINEAR:
            shares = torch.where(overlaps >= iou_threshold, 1 - overlaps, torch.ones_like(overlaps))
        else:
            shares = torch.exp(-overlaps.square() / sigma)
        values[rest] *= shares
        rest = rest[values[rest] >= min_score]
    return torch.stack(chosen) if chosen else rest


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Greedy non-maximum suppression that also returns the boxes suppressed by each kept box.

    Args:
        dets: Boxes and scores (n, 5).
        iou_threshold: A box is suppressed by a better one if their IoU is at least this.

    Returns:
        For each kept box, in descending order of score, its index and the indices of the boxes that it suppressed.
    """
    ranked = wide(dets)
    rest, groups = ranked[:, 4].sort(descending=True, stable=True).indices, []
    while len(rest):
        overlaps = pairwise_iou(ranked[rest[:1], :4], ranked[rest[1:], :4], 0)[0]
        is_matched = overlaps >= iou_threshold
        groups.append([int(rest[0]), *rest[1:][is_matched].tolist()])
        rest = rest[1:][~is_matched]
    return groups
