"""Assignment of pixels to rows in small tiles, in which only the rows that can win are computed.

Mask logits at stride 4 bound the probabilities of a tile, because bilinear interpolation stays within the range of its
inputs. A row whose upper bound is below the lower bound of another row cannot win a pixel of the tile. Trained models
have a few such rows in each tile, however many there are in the frame. Each tile is upsampled, compared and counted
while it is in the cache; maps of whole frames do not exist.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.structures import FactoredMasks, FrameSize, VideoPrediction

from .panoptic_fusion import Assigned, assign_bands, assign_pixels, winner_type

TILE = 24  # cells of the mask logits along each side
MARGIN = 1e-5  # relative, above the rounding errors of the bounds
SURELY_OUTSIDE = -1e-3  # a logit below it has a probability below 0.5 after rounding


def assign_frame(prediction: VideoPrediction, rows: Tensor, top: Tensor, frame: int) -> Assigned:
    """Assigns the pixels of a frame to rows, like :func:`assign_pixels` with the probabilities of the whole frame.

    Mask logits on the CPU are processed in tiles. At the image size, the result is exactly that of whole frames; if
    results have another size, the probabilities differ by rounding.

    Args:
        prediction: The video.
        rows: Confident rows (k,).
        top: Their scores (k,).
        frame: Index of the frame.
    """
    masks, valid = prediction.masks, prediction.valid[frame, rows]
    if isinstance(masks, FactoredMasks) and top.device.type == 'cpu' and valid.any():
        kept = valid.nonzero()[:, 0]
        logits = masks.small(rows[kept], frame)
        scales = {divmod(length, cells) for length, cells in zip(masks.size.padded, logits.shape[1:])}
        if len(scales) == 1 and not next(iter(scales))[1]:
            return assign_tiles(logits, top, kept, masks.size, next(iter(scales))[0])
    return assign_bands(top, prediction.probs_of(rows)(frame))


def assign_tiles(logits: Tensor, top: Tensor, kept: Tensor, size: FrameSize, scale: int) -> Assigned:
    """Assigns the pixels of a frame to rows, tile by tile.

    Args:
        logits: Mask logits (n, h, w) of the rows that exist in the frame.
        top: Scores (k,) of all rows.
        kept: Positions (n,) of the rows that exist among all.
        size: Sizes of the frame.
        scale: Pixels of the image along each side of a logit.
    """
    winner = torch.empty(size.original, dtype=winner_type(len(top)))
    areas = torch.zeros(3, len(top), dtype=torch.int64)
    for tile in tiles(logits, size, scale):
        chosen = candidates(top[kept], tile.logits)
        positions, counts = assign_pixels(top[kept[chosen]], tile.probs(chosen))
        table = torch.cat([kept[chosen], torch.tensor([len(top)])]).to(winner.dtype)
        winner[tile.target] = table[positions.long()]
        areas[:, kept[chosen]] += counts
    return winner, areas


def candidates(top: Tensor, logits: Tensor) -> Tensor:
    """Rows that can win a pixel of a tile, or cover one with a probability of at least 0.5.

    Args:
        top: Scores (k,) of the rows.
        logits: Mask logits (k, h, w) that the tile is interpolated from.
    """
    low, high = torch.aminmax(logits.flatten(1), dim=1)
    best = (top * low.sigmoid()).max()
    return ((top * high.sigmoid() >= best * (1 - MARGIN)) | (high > SURELY_OUTSIDE)).nonzero()[:, 0]


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of a frame.

    Attributes:
        logits: Mask logits (k, h, w) that it is interpolated from.
        scale: Pixels of the image along each side of a logit.
        crop: Part of the upsampled logits.
        weights: Interpolation from the image size to the lines and columns of the result; None if the sizes are equal.
        target: Part of the result.
    """

    logits: Tensor
    scale: int
    crop: tuple[slice, slice]
    weights: tuple[Tensor, Tensor] | None
    target: tuple[slice, slice]

    def probs(self, rows: Tensor) -> Tensor:
        """Mask probabilities (len(rows), H, W) of some rows."""
        patch = self.logits[rows][None]
        image = F.interpolate(patch, scale_factor=self.scale, mode='bilinear', align_corners=False)[0]
        probs = image[:, self.crop[0], self.crop[1]].sigmoid()
        return probs if self.weights is None else self.weights[0] @ probs @ self.weights[1].T


@dataclass(frozen=True, eq=False)
class Span:
    """Part of one axis of a tile; see :class:`Tile`."""

    cells: slice
    crop: slice
    weights: Tensor | None
    target: slice


def tiles(logits: Tensor, size: FrameSize, scale: int) -> Iterator[Tile]:
    """Tiles that cover the result of a frame.

    Args:
        logits: Mask logits (k, h, w).
        size: Sizes of the frame.
        scale: Pixels of the image along each side of a logit.
    """
    rows, columns = (
        spans(
            logits.shape[1 + axis], size.image[axis], size.original[axis], scale, is_resized=size.image != size.original
        )
        for axis in (0, 1)
    )
    for row in rows:
        for column in columns:
            part = logits[:, row.cells, column.cells]
            weights = None if row.weights is None else (row.weights, column.weights)
            yield Tile(part, scale, (row.crop, column.crop), weights, (row.target, column.target))


def spans(cells: int, image: int, original: int, scale: int, is_resized: bool) -> list[Span]:
    """Parts of one axis.

    Args:
        cells: Number of logits.
        image: Number of pixels of the image.
        original: Number of pixels of the result.
        scale: Pixels per logit.
        is_resized: Whether image and result have different sizes.
    """
    matrix = resize_matrix(image, original) if is_resized else None
    step = max(1, TILE * scale * original // image)
    found = []
    for start in range(0, original, step):
        stop = min(start + step, original)
        first, last = start, stop  # pixels of the image that are needed
        weights = None
        if matrix is not None:
            used = matrix[start:stop].any(0).nonzero()[:, 0]
            first, last = int(used[0]), int(used[-1]) + 1
            weights = matrix[start:stop, first:last].contiguous()
        low, high = max(first // scale - 1, 0), min(-(-last // scale) + 1, cells)
        crop = slice(first - low * scale, last - low * scale)
        found.append(Span(slice(low, high), crop, weights, slice(start, stop)))
    return found


def resize_matrix(source: int, target: int) -> Tensor:
    """Weights (target, source) of bilinear interpolation along one axis, with ``align_corners=False``."""
    return F.interpolate(torch.eye(source)[None], size=target, mode='linear', align_corners=False)[0].T
