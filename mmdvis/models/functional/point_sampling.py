"""Bilinear samples of maps at points, and the choice of points where a mask is unsure (PointRend, arXiv:1912.08193)."""
from typing import Tuple

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_features(features: Tensor, coords: Tensor) -> Tensor:
    """Features (T, M, h, w) at points (T, P, 2) of normalised (x, y) in [0, 1] -> (T, M, P); outside is zero."""
    return F.grid_sample(features, 2 * coords[:, None] - 1, mode='bilinear', align_corners=False)[:, :, 0]


def corners(coords: Tensor, height: int, width: int) -> Tuple[Tensor, Tensor]:
    """The four neighbours of each point and their bilinear weights.

    Args:
        coords (..., 2): normalised (x, y).

    Returns:
        index (4, ...): position in a flattened map; weight (4, ...): zero outside the map.
    """
    x, y = coords[..., 0] * width - 0.5, coords[..., 1] * height - 0.5
    left, top = x.floor(), y.floor()
    index, weight = [], []
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = left + dx, top + dy
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        share = (1 - (x - column).abs()) * (1 - (y - row).abs())
        weight.append(share * inside)
        index.append((row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long())
    return torch.stack(index), torch.stack(weight)


def sample_masks(masks: Tensor, frames: Tensor, coords: Tensor) -> Tensor:
    """One value a point from the maps of each row; neighbouring frames are never mixed.

    Args:
        masks (N, T, h, w): mask logits.
        frames (N, P): int64, the frame of each point.
        coords (N, P, 2): normalised (x, y).

    Returns:
        (N, P)
    """
    height, width = masks.shape[-2:]
    index, weight = corners(coords, height, width)  # (4, N, P)
    index = index + frames * (height * width)
    return sum(masks.flatten(1).gather(1, i) * w for i, w in zip(index, weight))


def sample_truth(truth: Tensor, rows: Tensor, frames: Tensor, coords: Tensor) -> Tensor:
    """Values in [0, 1] of bool masks at points, read where they lie: no mask is copied or turned into floats.

    Args:
        truth (V, T, H, W): bool.
        rows (N,): int64, which mask each row of points reads.
        frames (N, P), coords (N, P, 2): as in :func:`sample_masks`.

    Returns:
        (N, P) float.
    """
    num_frames, height, width = truth.shape[1:]
    index, weight = corners(coords, height, width)
    index = index + frames * (height * width) + rows[:, None] * (num_frames * height * width)
    flat = truth.reshape(-1)
    return sum(flat.take(i) * w for i, w in zip(index, weight))


def unsure_points(logits: Tensor, num_points: int, oversample: float, importance: float,
                  generator: torch.Generator) -> Tuple[Tensor, Tensor]:
    """Draws points, most of them where masks are least sure.

    Args:
        logits (N, T, h, w): mask logits.
        num_points: points wanted in a frame; T times as many are drawn for a row, wherever the row is unsure.
        oversample: candidates for one point.
        importance: share of the points that are chosen by smallest absolute logit.
        generator: on the device of ``logits``.

    Returns:
        frames (N, T * num_points) int64, coords (N, T * num_points, 2).
    """
    rows, num_frames = logits.shape[:2]
    total = num_points * num_frames
    frames, coords = random_points(rows, num_frames, int(num_points * oversample), logits, generator)
    num_unsure = int(importance * total)
    values = sample_masks(logits.detach(), frames, coords)
    chosen = values.abs().topk(num_unsure, dim=1, largest=False).indices
    rest = total - num_unsure
    more_frames = torch.randint(num_frames, (rows, rest), generator=generator, device=logits.device)
    more_coords = torch.rand(rows, rest, 2, generator=generator, device=logits.device)
    return (torch.cat([frames.gather(1, chosen), more_frames], 1),
            torch.cat([coords.take_along_dim(chosen[..., None], 1), more_coords], 1))


def random_points(rows: int, num_frames: int, per_frame: int, like: Tensor,
                  generator: torch.Generator) -> Tuple[Tensor, Tensor]:
    """Uniform points, the same number in every frame: frames (rows, T * per_frame) and coords (rows, T * per_frame, 2)."""
    frames = torch.arange(num_frames, device=like.device).repeat_interleave(per_frame).expand(rows, -1)
    return frames, torch.rand(rows, num_frames * per_frame, 2, generator=generator, device=like.device)
