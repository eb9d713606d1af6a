"""Tiles of the masks of a frame, small enough for the cache of a CPU.

Mask logits at stride 4 bound what is interpolated from them, so rows without influence on a tile can be left out before
they are upsampled.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.structures import FactoredMasks, FrameSize, MaskSource

TILE, BLOCK = 24, 6  # cells of the mask logits along each side of a tile, and of the blocks with known bounds


def mask_tiles(masks: MaskSource, rows: Tensor, frame: int) -> list['Tile'] | None:
    """Tiles that cover the result of a frame.

    Args:
        masks: Masks of the video.
        rows: Rows (k,) of the masks.
        frame: Index of the frame.

    Returns:
        The tiles; None if the masks are not logits on the CPU whose cells have a whole number of pixels.
    """
    if not isinstance(masks, FactoredMasks) or rows.device.type != 'cpu' or not len(rows):
        return None
    logits = masks.small(rows, frame)
    scales = {divmod(length, cells) for length, cells in zip(masks.size.padded, logits.shape[1:])}
    scale, remainder = next(iter(scales))
    return list(tiles(logits, masks.size, scale)) if len(scales) == 1 and not remainder else None


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of a frame.

    Attributes:
        logits: Mask logits (k, h, w) that it is interpolated from.
        bounds: Smallest and largest logit (k, b) in each block of the tile.
        scale: Pixels of the image along each side of a logit.
        crop: Part of the upsampled logits.
        weights: Interpolation from the image size to the lines and columns of the result; None if the sizes are equal.
        target: Part of the result.
    """

    logits: Tensor
    bounds: tuple[Tensor, Tensor]
    scale: int
    crop: tuple[slice, slice]
    weights: tuple[Tensor, Tensor] | None
    target: tuple[slice, slice]

    def upsampled(self, rows: Tensor) -> Tensor:
        """Mask logits (len(rows), H, W) of some rows at the image size."""
        patch = self.logits[rows][None]
        image = F.interpolate(patch, scale_factor=self.scale, mode='bilinear', align_corners=False)[0]
        return image[:, self.crop[0], self.crop[1]]

    def resized(self, maps: Tensor) -> Tensor:
        """Maps (k, H, W) at the image size as maps at the size of the result."""
        if self.weights is None:
            return maps
        with torch.autocast(maps.device.type, enabled=False):
            return self.weights[0].to(maps) @ maps @ self.weights[1].to(maps).T

    def probs(self, rows: Tensor) -> Tensor:
        """Mask probabilities (len(rows), H, W) of some rows; see :meth:`FactoredMasks.probs`."""
        return self.resized(self.upsampled(rows).sigmoid())

    def masks(self, rows: Tensor) -> Tensor:
        """Masks (len(rows), H, W) bool of some rows, where their logits are positive."""
        return self.resized(self.upsampled(rows)) > 0


@dataclass(frozen=True, eq=False)
class Span:
    """Part of one axis of a tile; see :class:`Tile`."""

    cells: slice
    blocks: slice
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
    low, high = block_bounds(logits)
    for row in rows:
        for column in columns:
            part = logits[:, row.cells, column.cells]
            bounds = tuple(x[:, row.blocks, column.blocks].flatten(1) for x in (low, high))
            weights = None if row.weights is None else (row.weights, column.weights)
            yield Tile(part, bounds, scale, (row.crop, column.crop), weights, (row.target, column.target))


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
        blocks = slice(first // scale // BLOCK, -(-last // (scale * BLOCK)))
        found.append(Span(slice(low, high), blocks, crop, weights, slice(start, stop)))
    return found


def block_bounds(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest value (k, h / BLOCK, w / BLOCK) that pixels of each block are interpolated from.

    Args:
        logits: Mask logits (k, h, w).
    """
    missing = [-length % BLOCK for length in logits.shape[1:]]
    padded = F.pad(logits[None], (1, 1 + missing[1], 1, 1 + missing[0]), mode='replicate')[0]

    def over_blocks(choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        lines = reduce(choose, padded.unfold(1, BLOCK + 2, BLOCK).unbind(-1))
        return reduce(choose, lines.unfold(2, BLOCK + 2, BLOCK).unbind(-1))

    return over_blocks(torch.minimum), over_blocks(torch.maximum)


def resize_matrix(source: int, target: int) -> Tensor:
    """Weights (target, source) of bilinear interpolation along one axis, with ``align_corners=False``."""
    return F.interpolate(torch.eye(source)[None], size=target, mode='linear', align_corners=False)[0].T
