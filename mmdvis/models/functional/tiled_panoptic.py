"""Assignment of pixels to rows in small tiles, in which only the rows that can win are computed.

Mask logits at stride 4 bound the probabilities of a tile, because bilinear interpolation stays within the range of its
inputs. A row whose upper bound is below the lower bound of another row cannot win a pixel of the tile. Trained models
have a few such rows in each tile, however many there are in the frame. Each tile is upsampled, compared and counted
while it is in the cache; maps of whole frames do not exist.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmdvis.structures import VideoPrediction

from .mask_tiles import Tile, mask_tiles
from .panoptic_fusion import Assigned, assign_bands, assign_pixels, winner_type

MARGIN = 1e-5  # relative, above the rounding errors of the bounds
FEW = 12  # rows; for up to that many, whole frames are faster
SURELY_OUTSIDE = -1e-3  # a logit below it has a probability below 0.5 after rounding


def assign_frame(prediction: VideoPrediction, rows: Tensor, top: Tensor, frame: int) -> Assigned:
    """Assigns the pixels of a frame to rows, like :func:`assign_pixels` with the probabilities of the whole frame.

    Mask logits on the CPU are processed in tiles, unless there are few rows. At the image size, the result is exactly
    that of whole frames; if results have another size, the probabilities differ by rounding.

    Args:
        prediction: The video.
        rows: Confident rows (k,).
        top: Their scores (k,).
        frame: Index of the frame.
    """
    valid = prediction.valid[frame, rows]
    kept = valid.nonzero()[:, 0]
    found = mask_tiles(prediction.masks, rows[kept], frame) if len(kept) > FEW else None
    if found is None:
        return assign_bands(top, prediction.probs_of(rows)(frame))
    return assign_tiles(found, top, kept, prediction.masks.size.original)


def assign_tiles(found: Sequence[Tile], top: Tensor, kept: Tensor, size: tuple[int, int]) -> Assigned:
    """Assigns the pixels of a frame to rows, tile by tile.

    Args:
        found: Tiles of the n rows that exist in the frame.
        top: Scores (k,) of all rows.
        kept: Positions (n,) of the rows that exist among all.
        size: (height, width) of the result.
    """
    winner = torch.empty(size, dtype=winner_type(len(top)))
    areas = torch.zeros(3, len(top), dtype=torch.int64)
    low, high = (torch.cat(bounds, 1) for bounds in zip(*(tile.bounds for tile in found)))
    possible = candidates(top[kept], low, high).split([tile.bounds[0].shape[1] for tile in found], 1)
    for tile, in_blocks in zip(found, possible):
        chosen = in_blocks.any(1).nonzero()[:, 0]
        positions, counts = assign_pixels(top[kept[chosen]], tile.probs(chosen))
        table = torch.cat([kept[chosen], torch.tensor([len(top)])]).to(winner.dtype)
        winner[tile.target] = table[positions.long()]
        areas[:, kept[chosen]] += counts
    return winner, areas


def candidates(top: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Whether a row can win a pixel of a block, or cover one with a probability of at least 0.5, bool (k, b).

    Args:
        top: Scores (k,) of the rows.
        low: Smallest mask logits (k, b) in the blocks.
        high: Largest mask logits (k, b) in the blocks.
    """
    best = (top[:, None] * low.sigmoid()).amax(0)
    cannot_win = top[:, None] * high.sigmoid() < best * (1 - MARGIN)
    return ~cannot_win | (high > SURELY_OUTSIDE)  # also if a bound is NaN
