"""Bilinear samples of maps at points, and the choice of points where a mask is unsure (PointRend, arXiv:1912.08193)."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SAMPLED_VALUES = 1 << 20  # candidate points that are sampled, and pixels that are turned into floats, together
READ, READ_ON_CPU = 1 << 22, 1 << 15  # points that are read together; on a CPU temporaries that fit its cache
Corners = list[tuple[Tensor, Tensor]]  # place and weight of each neighbour of points


def sample_features(features: Tensor, coords: Tensor) -> Tensor:
    """Features (T, M, h, w) at points (T, P, 2) of normalised (x, y) in [0, 1] -> (T, M, P); outside is zero."""
    grid = (2 * coords[:, None]).sub_(1)
    return F.grid_sample(features, grid, mode='bilinear', align_corners=False)[:, :, 0]


def corners(coords: Tensor, height: int, width: int) -> Corners:
    """The four neighbours of each point and their bilinear weights.

    Args:
        coords (..., 2): normalised (x, y).

    Returns:
        four pairs: the place (...) int64 in a flattened map, and the weight (...), zero outside the map.
    """
    (left, left_share), (right, right_share) = neighbours(coords[..., 0] * width - 0.5, width)
    (top, top_share), (bottom, bottom_share) = neighbours(coords[..., 1] * height - 0.5, height)
    return [
        ((row * width + column).long(), row_share * share)
        for row, row_share in ((top, top_share), (bottom, bottom_share))
        for column, share in ((left, left_share), (right, right_share))
    ]


def neighbours(x: Tensor, size: int | Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The pixels before and after a position along an axis of ``size``, inside it, and their shares, zero for those outside."""
    before = x.detach().floor()
    after, part = before + 1, x - before
    first, second = (
        torch.minimum(pixel.clamp(min=0), torch.as_tensor(size - 1, dtype=x.dtype, device=x.device))
        for pixel in (before, after)
    )
    return (first, (1 - part) * (first == before)), (second, part * (second == after))


def sample_masks(masks: Tensor, frames: Tensor, coords: Tensor, known: Tensor | None = None) -> Tensor:
    """One value a point from the maps of each row; neighbouring frames are never mixed.

    Args:
        masks (N, T, h, w): mask logits.
        frames (N, P): the frame of each point.
        coords (N, P, 2): normalised (x, y).
        known (N, P): the values, where only their gradients are wanted.

    Returns:
        (N, P)
    """
    if masks.shape[1] == 1 and len(masks):
        return sample_features(masks, coords)[:, 0]  # quick enough to be done twice
    return SampledFrames.apply(masks, frames, coords, known)


class SampledFrames(torch.autograd.Function):
    """:func:`sample_masks` of several frames, which keeps nothing but the points for its gradients."""

    @staticmethod
    def forward(ctx: Any, masks: Tensor, frames: Tensor, coords: Tensor, known: Tensor | None) -> Tensor:
        """The values (N, P)."""
        ctx.shape = masks.shape
        ctx.save_for_backward(frames, coords)
        if known is not None:
            return known.clone()
        return read_points(masks, torch.arange(len(masks), device=masks.device), frames, coords)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the masks."""
        frames, coords = ctx.saved_tensors
        found, grad = grad.new_zeros(ctx.shape), grad.reshape(-1)
        rows = torch.arange(ctx.shape[0], device=grad.device)
        for piece, corner in point_offsets(rows, frames, coords, ctx.shape):
            for place, weight in corner:
                found.view(-1).scatter_add_(0, place, weight * grad[piece])
        return found, None, None, None


def point_offsets(
    rows: Tensor, frames: Tensor, coords: Tensor, shape: Sequence[int]
) -> Iterator[tuple[slice, Corners]]:
    """Where points lie in flattened maps, a portion of the points at a time.

    Args:
        rows (N,): which maps each row of points reads.
        frames (N, P), coords (N, P, 2): see :func:`sample_masks`.
        shape: (V, T, h, w) of the maps.

    Yields:
        which of the N * P points, and of each of their four neighbours the place, int64, and the weight.
    """
    _, num_frames, height, width = shape
    number = coords.shape[1]
    frames, coords = frames.expand(coords.shape[:2]).reshape(-1), coords.reshape(-1, 2)
    step = READ if coords.is_cuda else READ_ON_CPU
    for start in range(0, len(coords), step):
        piece = slice(start, min(start + step, len(coords)))
        row = rows[torch.arange(piece.start, piece.stop, device=rows.device) // number]
        first = (row * num_frames + frames[piece]) * (height * width)
        yield piece, [(first + place, weight) for place, weight in corners(coords[piece], height, width)]


def read_points(maps: Tensor, rows: Tensor, frames: Tensor, coords: Tensor) -> Tensor:
    """Values (N, P) of maps (V, T, h, w), of floats or bools, at points; arguments as :func:`point_offsets`."""
    flat, found = maps.reshape(-1), coords.new_empty(coords.shape[:2])
    for piece, corner in point_offsets(rows, frames, coords, maps.shape):
        found.view(-1)[piece] = sum(flat.take(place) * weight for place, weight in corner)
    return found


def sample_targets(truth: Tensor, rows: Tensor, frames: Tensor, coords: Tensor) -> Tensor:
    """Values in [0, 1] of bool masks at points; the masks are never copied as a whole.

    A CPU is quicker to turn a few single frames into floats than to find the neighbours of their points.

    Args:
        truth (V, T, H, W): bool.
        rows (N,): int64, which mask each row of points reads.
        frames (N, P), coords (N, P, 2): as in :func:`sample_masks`; a first axis of 1 is the same for all rows.

    Returns:
        (N, P) float.
    """
    frames, coords = (x.expand(len(rows), *x.shape[1:]) for x in (frames, coords))
    if truth.shape[1] > 1 or truth.is_cuda or not len(rows):
        return read_points(truth, rows, frames, coords)
    some = max(1, min(READ_ON_CPU // max(coords.shape[1], 1), MAX_SAMPLED_VALUES // (truth.shape[2] * truth.shape[3])))
    portions = zip(rows.split(some), coords.split(some))
    return torch.cat([sample_features(truth[row].float(), points)[:, 0] for row, points in portions])


def uncertain_points(
    logits: Tensor, num_points: int, oversample: float, importance: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draws points, most of them where masks are least sure.

    Args:
        logits (N, T, h, w): mask logits.
        num_points: points wanted in a frame; T times as many are drawn for a row, wherever the row is unsure.
        oversample: candidates for one point.
        importance: share of the points that are chosen by smallest absolute logit.
        generator: on the device of ``logits``.

    Returns:
        frames (N, T * num_points) int16, coords (N, T * num_points, 2).
    """
    rows, num_frames = logits.shape[:2]
    total = num_points * num_frames
    frames, coords = random_points(rows, num_frames, int(num_points * oversample), logits, generator)
    num_unsure = int(importance * total)
    maps, by_frame = (
        logits.detach().flatten(0, 1)[:, None],
        coords.view(rows * num_frames, coords.shape[1] // num_frames, 2),
    )
    some = max(1, MAX_SAMPLED_VALUES // max(by_frame.shape[1], 1))
    sampled = (
        [sample_features(*x)[:, 0] for x in zip(maps.split(some), by_frame.split(some))] if rows else [coords[..., 0]]
    )
    values = torch.cat(sampled).view(rows, coords.shape[1]).abs_()
    chosen = values.topk(num_unsure, dim=1, largest=False, sorted=False).indices
    rest = total - num_unsure
    more_frames = torch.randint(num_frames, (rows, rest), generator=generator, device=logits.device, dtype=torch.int16)
    more_coords = torch.rand(rows, rest, 2, generator=generator, device=logits.device)
    found = torch.cat([coords.take_along_dim(chosen[..., None], 1), more_coords], 1)
    if num_frames == 1:
        return more_frames.new_zeros(1, 1).expand(rows, total), found
    return torch.cat([frames.gather(1, chosen), more_frames], 1), found


def random_points(
    rows: int, num_frames: int, per_frame: int, like: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Uniform points, the same number in every frame: frames (rows, T * per_frame) and coords (rows, T * per_frame, 2)."""
    frames = (
        torch.arange(num_frames, device=like.device, dtype=torch.int16).repeat_interleave(per_frame).expand(rows, -1)
    )
    return frames, torch.rand(rows, num_frames * per_frame, 2, generator=generator, device=like.device)
