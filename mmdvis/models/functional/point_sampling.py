"""Bilinear sampling of maps at points, and importance sampling of uncertain points (PointRend, arXiv:1912.08193)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .frame_runs import Runs, batches, gathered, runs_of_frames, scatter

MAX_SAMPLED_VALUES = 1 << 20  # maximum number of sampled candidates, and of pixels converted to float, per chunk
READ, READ_ON_CPU = 1 << 22, 1 << 15  # points per chunk; on a CPU, temporaries should fit the cache
BILINEAR, ZEROS = 0, 0  # interpolation and padding mode of aten::grid_sampler_2d_backward
Corners = list[tuple[Tensor, Tensor]]  # index and weight of each neighbour of the points


def sample_features(features: Tensor, coords: Tensor) -> Tensor:
    """Bilinear samples of feature maps; points outside the map give zero.

    Args:
        features: Feature maps (T, M, h, w).
        coords: Normalised (x, y) coordinates (T, P, 2) in [0, 1].

    Returns:
        Sampled features (T, M, P).
    """
    grid = (2 * coords[:, None]).sub_(1)
    return F.grid_sample(features, grid, mode='bilinear', align_corners=False)[:, :, 0]


@torch.no_grad()
def sample_vectors(features: Tensor, coords: Tensor) -> Tensor:
    """Bilinear samples of one feature map at points, without gradients; points outside the map give zero.

    On a CPU and for many points, whole feature vectors are read, which is faster than sampling every channel with
    :func:`sample_features`.

    Args:
        features: Feature map (M, h, w).
        coords: Normalised (x, y) coordinates (P, 2) in [0, 1].

    Returns:
        Sampled vectors (P, M).
    """
    if features.device.type != 'cpu' or 4 * len(coords) < features[0].numel():
        return sample_features(features[None], coords[None])[0].T
    index, weight = (torch.stack(values, -1) for values in zip(*corners(coords, *features.shape[1:])))
    return F.embedding_bag(index, features.flatten(1).T.contiguous(), per_sample_weights=weight, mode='sum')


def corners(coords: Tensor, height: int, width: int) -> Corners:
    """The four neighbours of each point and their bilinear weights.

    Args:
        coords: Normalised (x, y) coordinates (..., 2).
        height: Height of the map in pixels.
        width: Width of the map in pixels.

    Returns:
        Four pairs of the index (...) int64 into the flattened map and the weight (...), which is zero outside the map.
    """
    (left, left_weight), (right, right_weight) = neighbours(coords[..., 0] * width - 0.5, width)
    (top, top_weight), (bottom, bottom_weight) = neighbours(coords[..., 1] * height - 0.5, height)
    return [
        ((row * width + column).long(), row_weight * column_weight)
        for row, row_weight in ((top, top_weight), (bottom, bottom_weight))
        for column, column_weight in ((left, left_weight), (right, right_weight))
    ]


def neighbours(x: Tensor, size: int | Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The pixels before and after a position along one axis, with their linear interpolation weights.

    Args:
        x: Positions (...) in pixels.
        size: Length of the axis in pixels.

    Returns:
        (index, weight) of the pixel before and of the pixel after the position, each (...). Indices are clamped to the
        axis; the weight of a pixel outside the axis is zero.
    """
    before = x.detach().floor()
    after, fraction = before + 1, x - before
    before_index, after_index = (
        torch.minimum(pixel.clamp(min=0), torch.as_tensor(size - 1, dtype=x.dtype, device=x.device))
        for pixel in (before, after)
    )
    return (before_index, (1 - fraction) * (before_index == before)), (after_index, fraction * (after_index == after))


def sample_masks(masks: Tensor, frames: Tensor, coords: Tensor, known: Tensor | None = None) -> Tensor:
    """Bilinear samples of the masks of each row; frames are never interpolated.

    Args:
        masks: Mask logits (N, T, h, w).
        frames: Frame index (N, P) of each point.
        coords: Normalised (x, y) coordinates (N, P, 2).
        known: Precomputed samples (N, P), returned as they are so that only gradients are computed; ignored if T = 1.

    Returns:
        Sampled logits (N, P).
    """
    if masks.shape[1] == 1 and len(masks):
        return sample_features(masks, coords)[:, 0]  # cheap enough to ignore ``known``
    return SampledFrames.apply(masks, frames, coords, known)


class SampledFrames(torch.autograd.Function):
    """:func:`sample_masks` for several frames, which saves only the points for the backward pass."""

    @staticmethod
    def forward(ctx: Any, masks: Tensor, frames: Tensor, coords: Tensor, known: Tensor | None) -> Tensor:
        """Sampled logits (N, P)."""
        ctx.shape = masks.shape
        ctx.save_for_backward(frames, coords)
        if known is not None:
            return known.clone()
        return read_points(masks, torch.arange(len(masks), device=masks.device), frames, coords)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient of the masks (N, T, h, w) from the output gradient (N, P)."""
        frames, coords = ctx.saved_tensors
        frames = frames.expand(coords.shape[:2])
        mask_grad, runs = grad.new_zeros(ctx.shape), runs_of_frames(frames)
        if runs is not None:
            for batch in batches(runs, ctx.shape[-2:]):
                pieces = image_gradients(gathered(grad, batch), gathered(coords, batch), ctx.shape[-2:])
                for (row, frame, _), piece in zip(batch, pieces):
                    mask_grad[row, frame] = piece
            return mask_grad, None, None, None
        grad, rows = grad.reshape(-1), torch.arange(ctx.shape[0], device=grad.device)
        for piece, corner in point_offsets(rows, frames, coords, ctx.shape):
            for place, weight in corner:
                mask_grad.view(-1).scatter_add_(0, place, weight * grad[piece])
        return mask_grad, None, None, None


def image_gradients(grads: Tensor, points: Tensor, size: Sequence[int]) -> Tensor:
    """Gradients (n, h, w) of maps, given the gradients (n, P) of their bilinear samples at points (n, P, 2)."""
    images, grid = grads.new_zeros(len(grads), 1, *size), points.to(grads.dtype).mul(2).sub_(1)[:, None]
    backward = torch.ops.aten.grid_sampler_2d_backward
    return backward(grads[:, None, None], images, grid, BILINEAR, ZEROS, False, [True, False])[0][:, 0]


def point_offsets(
    rows: Tensor, frames: Tensor, coords: Tensor, shape: Sequence[int]
) -> Iterator[tuple[slice, Corners]]:
    """Indices and weights of points in flattened maps, in chunks of points.

    Args:
        rows: Index (N,) of the map that each row of points reads.
        frames: Frame index (N, P) of each point.
        coords: Normalised (x, y) coordinates (N, P, 2).
        shape: Shape (V, T, h, w) of the maps.

    Yields:
        Slice of the N * P points, and the index, int64, and weight of each of their four neighbours.
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
    """Bilinear samples (N, P) of float or bool maps (V, T, h, w); see :func:`point_offsets` for the other arguments."""
    frames = frames.expand(coords.shape[:2])
    runs = runs_of_frames(frames)
    if runs is not None:
        return read_by_frame(maps, rows.tolist(), runs, coords)
    flat, values = maps.reshape(-1), coords.new_empty(coords.shape[:2])
    for piece, corner in point_offsets(rows, frames, coords, maps.shape):
        values.view(-1)[piece] = sum(flat.take(place) * weight for place, weight in corner)
    return values


def read_by_frame(maps: Tensor, rows: Sequence[int], runs: Runs, coords: Tensor) -> Tensor:
    """Same result as :func:`read_points`; a batch of frames is sampled with one call of ``grid_sample``."""
    values = coords.new_empty(coords.shape[:2])
    for batch in batches(runs, maps.shape[-2:]):
        images = coords.new_empty(len(batch), 1, *maps.shape[-2:])
        for image, (row, frame, _) in zip(images, batch):
            image.copy_(numeric(maps[rows[row], frame]))
        scatter(sample_features(images, gathered(coords, batch))[:, 0], batch, values)
    return values


def sample_targets(truth: Tensor, rows: Tensor, frames: Tensor, coords: Tensor) -> Tensor:
    """Bilinear samples of bool masks, without converting all masks to float.

    On a CPU, single frames are converted to float, which is faster than computing the neighbours of the points.

    Args:
        truth: Bool masks (V, T, H, W).
        rows: Index (N,) int64 of the mask that each row of points reads.
        frames: Frame index (N, P) of each point; (1, P) is broadcast to all rows.
        coords: Normalised (x, y) coordinates (N, P, 2); (1, P, 2) is broadcast to all rows.

    Returns:
        Sampled values (N, P) float in [0, 1].
    """
    frames, coords = (x.expand(len(rows), *x.shape[1:]) for x in (frames, coords))
    if truth.shape[1] > 1 or truth.is_cuda or not len(rows):
        return read_points(truth, rows, frames, coords)
    chunk_size = max(
        1, min(READ_ON_CPU // max(coords.shape[1], 1), MAX_SAMPLED_VALUES // (truth.shape[2] * truth.shape[3]))
    )
    chunks = zip(rows.split(chunk_size), coords.split(chunk_size))
    return torch.cat([sample_features(numeric(truth[row]).float(), points)[:, 0] for row, points in chunks])


def numeric(maps: Tensor) -> Tensor:
    """Views bool maps as uint8, which PyTorch converts to float several times faster; other maps are unchanged."""
    return maps.view(torch.uint8) if maps.dtype == torch.bool else maps


def smallest(values: Tensor, number: int) -> Tensor:
    """Indices (N, number) int64 of the smallest values of each row (N, P), sorted on a CPU if no value is NaN."""
    if values.device.type == 'cpu' and number:
        rows = values.numpy()
        limits = np.partition(rows, number - 1, axis=1)[:, number - 1]
        columns = [below(row, limit, number) for row, limit in zip(rows, limits)]
        if columns and all(len(found) == number for found in columns):  # NaN is never found
            return torch.from_numpy(np.stack(columns))
    return values.topk(number, dim=1, largest=False, sorted=False).indices


def below(row: np.ndarray, limit: np.floating, number: int) -> np.ndarray:
    """Indices of the ``number`` smallest values of a row (P,), in ascending order.

    Args:
        row: The values.
        limit: The largest of the smallest values. Of several values equal to it, the first ones are selected.
        number: Number of values.
    """
    found = np.flatnonzero(row <= limit)
    surplus = len(found) - number
    if surplus <= 0:
        return found
    return np.delete(found, np.flatnonzero(row[found] == limit)[-surplus:])


def uncertain_points(
    logits: Tensor, num_points: int, oversample: float, importance: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Samples points, most of them where the masks are uncertain.

    Args:
        logits: Mask logits (N, T, h, w).
        num_points: Average number of points per frame. Each row has T * num_points points, which may lie in any frame.
        oversample: Number of candidates per point.
        importance: Fraction of the points that are selected by smallest absolute logit; the others are uniform.
        generator: Random generator on the device of ``logits``.

    Returns:
        Frame indices (N, T * num_points) int16 and normalised (x, y) coordinates (N, T * num_points, 2).
    """
    rows, num_frames = logits.shape[:2]
    total = num_points * num_frames
    frames, coords = random_points(rows, num_frames, int(num_points * oversample), logits, generator)
    num_uncertain = int(importance * total)
    maps, by_frame = (
        logits.detach().flatten(0, 1)[:, None],
        coords.view(rows * num_frames, coords.shape[1] // num_frames, 2),
    )
    chunk_size = max(1, MAX_SAMPLED_VALUES // max(by_frame.shape[1], 1))
    sampled = (
        [sample_features(*x)[:, 0] for x in zip(maps.split(chunk_size), by_frame.split(chunk_size))]
        if rows
        else [coords[..., 0]]
    )
    values = torch.cat(sampled).view(rows, coords.shape[1]).abs_()
    uncertain = smallest(values, num_uncertain)
    num_random = total - num_uncertain
    random_frames = torch.randint(
        num_frames, (rows, num_random), generator=generator, device=logits.device, dtype=torch.int16
    )
    random_coords = torch.rand(rows, num_random, 2, generator=generator, device=logits.device)
    all_coords = torch.cat([coords.take_along_dim(uncertain[..., None], 1), random_coords], 1)
    if num_frames == 1:
        return random_frames.new_zeros(1, 1).expand(rows, total), all_coords
    return torch.cat([frames.gather(1, uncertain), random_frames.sort(1).values], 1), all_coords


def random_points(
    rows: int, num_frames: int, per_frame: int, like: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Samples uniform points, the same number in every frame.

    Args:
        rows: Number of rows N.
        num_frames: Number of frames T.
        per_frame: Number of points per frame.
        like: Tensor on the device of the result.
        generator: Random generator on the same device.

    Returns:
        Frame indices (N, T * per_frame) int16 and normalised (x, y) coordinates (N, T * per_frame, 2).
    """
    frames = (
        torch.arange(num_frames, device=like.device, dtype=torch.int16).repeat_interleave(per_frame).expand(rows, -1)
    )
    return frames, torch.rand(rows, num_frames * per_frame, 2, generator=generator, device=like.device)
