"""Geometric transforms of a clip: one random draw, the same for all its frames."""
from typing import Optional, Sequence, Tuple

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmdvis.registry import TRANSFORMS
from mmdvis.structures import short_edge_size

Size = Tuple[int, int]


def resize_frames(frames: np.ndarray, size: Size) -> np.ndarray:
    """uint8 (T, H, W, 3) -> (T, *size, 3) by Pillow's bilinear filter, as detectron2 does."""
    return np.stack([np.asarray(Image.fromarray(frame).resize(size[::-1], Image.BILINEAR)) for frame in frames])


def resize_maps(maps: np.ndarray, size: Size) -> np.ndarray:
    """int32 (T, H, W) -> (T, *size), nearest neighbour."""
    return np.stack([np.asarray(Image.fromarray(id_map).resize(size[::-1], Image.NEAREST)) for id_map in maps])


@TRANSFORMS.register_module()
class ResizeClip(BaseTransform):
    """Resizes the short edge to one of several lengths.

    Args:
        short_edges: lengths in pixels to choose from.
        max_edge: limit of the long edge; None for none.
    """

    def __init__(self, short_edges: Sequence[int], max_edge: Optional[int] = None) -> None:
        self.short_edges, self.max_edge = tuple(short_edges), max_edge

    def transform(self, results: dict) -> dict:
        """Resizes ``clip`` (T, H, W, 3) and ``id_maps`` (T, H, W)."""
        size = results['clip'].shape[1:3]
        target = short_edge_size(size, int(np.random.choice(self.short_edges)), self.max_edge)
        if target == size:
            return results
        return dict(results, clip=resize_frames(results['clip'], target), id_maps=resize_maps(results['id_maps'], target))


@TRANSFORMS.register_module()
class CropClip(BaseTransform):
    """Cuts one window out of all frames; a frame that is smaller is kept whole along that axis.

    Args:
        size: (height, width) in pixels.
    """

    def __init__(self, size: Size) -> None:
        self.size = tuple(size)

    def transform(self, results: dict) -> dict:
        """Crops ``clip`` and ``id_maps``."""
        height, width = results['clip'].shape[1:3]
        top = np.random.randint(max(height - self.size[0], 0) + 1)
        left = np.random.randint(max(width - self.size[1], 0) + 1)
        window = np.s_[:, top:top + self.size[0], left:left + self.size[1]]
        return dict(results, clip=results['clip'][window], id_maps=results['id_maps'][window])


@TRANSFORMS.register_module()
class FlipClip(BaseTransform):
    """Mirrors all frames from left to right.

    Args:
        prob: how often.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Mirrors ``clip`` and ``id_maps``."""
        if np.random.rand() >= self.prob:
            return results
        return dict(results, clip=results['clip'][:, :, ::-1], id_maps=results['id_maps'][:, :, ::-1])
