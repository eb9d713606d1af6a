"""Bilinear samples of maps at points, and the choice of points where a mask is unsure (PointRend, arXiv:1912.08193)."""
from typing import List, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLED = 1 << 20  # points of maps that are sampled together
READ, READ_ON_CPU = 1 << 22, 1 << 15  # the same of masks; on a CPU temporaries that fit its cache


def sample_features(features: Tensor, coords: Tensor) -> Tensor:
    """Features (T, M, h, w) at points (T, P, 2) of normalised (x, y) in [0, 1] -> (T, M, P); outside is zero."""
    grid = (2 * coords[:, None]).sub_(1)
    return F.grid_sample(features, grid, mode='bilinear', align_corners=False)[:, :, 0]


def corners(coords: Tensor, height: int, width: int) -> List[Tuple[Tensor, Tensor]]:
    """The four neighbours of each point and their bilinear weights.

    Args:
        coords (..., 2): normalised (x, y).

    Returns:
        four pairs: the place (...) int64 in a flattened map, and the weight (...), zero outside the map.
    """
    (left, left_share), (right, right_share) = neighbours(coords[..., 0] * width - 0.5, width)
    (top, top_share), (bottom, bottom_share) = neighbours(coords[..., 1] * height - 0.5, height)
    return [((row * width + column).long(), row_share * share)
            for row, row_share in ((top, top_share), (bottom, bottom_share))
            for column, share in ((left, left_share), (right, right_share))]


def neighbours(x: Tensor, size: Union[int, Tensor]) -> Tuple[Tuple[Tensor, Tensor], Tuple[Tensor, Tensor]]:
    """The pixels before and after a position along an axis of ``size``, inside it, and their shares, zero for those outside."""
    before = x.detach().floor()
    after, part = before + 1, x - before
    first, second = (torch.minimum(pixel.clamp(min=0), torch.as_tensor(size - 1, dtype=x.dtype, device=x.device))
                     for pixel in (before, after))
    return (first, (1 - part) * (first == before)), (second, part * (second == after))


def sample_masks(masks: Tensor, frames: Tensor, coords: Tensor) -> Tensor:
    """One value a point from the maps of each row; neighbouring frames are never mixed.

    Args:
        masks (N, T, h, w): mask logits.
        frames (N, P): int64, the frame of each point.
        coords (N, P, 2): normalised (x, y).

    Returns:
        (N, P)
    """
    if masks.shape[1] == 1 and len(masks):
        return sample_features(masks, coords)[:, 0]
    flat, area = masks.flatten(1), masks.shape[-2] * masks.shape[-1]
    return sum(flat.gather(1, place + frames * area) * weight for place, weight in corners(coords, *masks.shape[-2:]))


def sample_truth(truth: Tensor, rows: Tensor, frames: Tensor, coords: Tensor) -> Tensor:
    """Values in [0, 1] of bool masks at points, a few rows at a time; the masks are never copied as a whole.

    Args:
        truth (V, T, H, W): bool.
        rows (N,): int64, which mask each row of points reads.
        frames (N, P), coords (N, P, 2): as in :func:`sample_masks`; a first axis of 1 is the same for all rows.

    Returns:
        (N, P) float.
    """
    found = coords.new_empty(len(rows), coords.shape[1])
    some = max(1, (READ if truth.is_cuda else READ_ON_CPU) // max(coords.shape[1], 1))
    frames, coords = (x.expand(len(rows), *x.shape[1:]) for x in (frames, coords))
    for part, *where in zip(*(x.split(some) for x in (found, rows, frames, coords))):
        part.copy_(read_points(truth, *where))
    return found


def read_points(truth: Tensor, rows: Tensor, frames: Tensor, coords: Tensor) -> Tensor:
    """:func:`sample_truth` for a few rows; a CPU is quicker to turn a few single frames into floats than to find corners."""
    num_frames, height, width = truth.shape[1:]
    if num_frames == 1 and not truth.is_cuda:
        return sample_features(truth[rows].float(), coords)[:, 0]
    flat, start = truth.reshape(-1), (frames + rows[:, None] * num_frames) * (height * width)
    return sum(flat.take(start + place) * weight for place, weight in corners(coords, height, width))


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
    maps, by_frame = logits.detach().flatten(0, 1)[:, None], coords.view(rows * num_frames, coords.shape[1] // num_frames, 2)
    some = max(1, SAMPLED // max(by_frame.shape[1], 1))
    sampled = [sample_features(*x)[:, 0] for x in zip(maps.split(some), by_frame.split(some))] if rows else [coords[..., 0]]
    values = torch.cat(sampled).view(rows, coords.shape[1]).abs_()
    chosen = values.topk(num_unsure, dim=1, largest=False, sorted=False).indices
    rest = total - num_unsure
    more_frames = torch.randint(num_frames, (rows, rest), generator=generator, device=logits.device)
    more_coords = torch.rand(rows, rest, 2, generator=generator, device=logits.device)
    found = torch.cat([coords.take_along_dim(chosen[..., None], 1), more_coords], 1)
    if num_frames == 1:
        return more_frames.new_zeros(1, 1).expand(rows, total), found
    return torch.cat([frames.gather(1, chosen), more_frames], 1), found


def random_points(rows: int, num_frames: int, per_frame: int, like: Tensor,
                  generator: torch.Generator) -> Tuple[Tensor, Tensor]:
    """Uniform points, the same number in every frame: frames (rows, T * per_frame) and coords (rows, T * per_frame, 2)."""
    frames = torch.arange(num_frames, device=like.device).repeat_interleave(per_frame).expand(rows, -1)
    return frames, torch.rand(rows, num_frames * per_frame, 2, generator=generator, device=like.device)
