"""Geometric transforms of a clip: one random draw, the same for all its frames unless said otherwise.

They take and give ``clip`` uint8 (T, H, W, 3) and ``maps`` (L, T, H, W), as ``LoadClip`` makes them.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmdvis.io import short_edge_size
from mmdvis.registry import TRANSFORMS

Size = tuple[int, int]
GREY = 128  # what detectron2 pads images with before they are normalised


def resize_frames(frames: np.ndarray, size: Size) -> np.ndarray:
    """uint8 (T, H, W, 3) -> (T, *size, 3) by Pillow's bilinear filter, as detectron2 does."""
    return np.stack([np.asarray(Image.fromarray(frame).resize(size[::-1], Image.BILINEAR)) for frame in frames])


def resize_maps(maps: np.ndarray, size: Size) -> np.ndarray:
    """uint8 or int32 (..., H, W) -> (..., *size), nearest neighbour."""
    flat = [
        np.asarray(Image.fromarray(one).resize(size[::-1], Image.NEAREST)) for one in maps.reshape(-1, *maps.shape[-2:])
    ]
    return np.stack(flat).reshape(*maps.shape[:-2], *size)


def resize_clip(results: dict, size: Size) -> dict:
    """The clip in another size."""
    if tuple(results['clip'].shape[1:3]) == tuple(size):
        return results
    return dict(results, clip=resize_frames(results['clip'], size), maps=resize_maps(results['maps'], size))


def crop_clip(results: dict, size: Size) -> dict:
    """A window of ``size`` anywhere in the clip, the whole length along an axis that is shorter."""
    top, left = (np.random.randint(max(length - part, 0) + 1) for length, part in zip(results['clip'].shape[1:3], size))
    rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
    return dict(results, clip=results['clip'][:, rows, columns], maps=results['maps'][..., rows, columns])


@TRANSFORMS.register_module()
class ResizeClip(BaseTransform):
    """Resizes the short edge to one of several lengths.

    Args:
        short_edges: lengths in pixels to choose from.
        max_edge: limit of the long edge; None for none.
    """

    def __init__(self, short_edges: Sequence[int], max_edge: int | None = None) -> None:
        self.short_edges, self.max_edge = tuple(short_edges), max_edge

    def transform(self, results: dict) -> dict:
        """Resizes all frames and maps."""
        size = results['clip'].shape[1:3]
        return resize_clip(results, short_edge_size(size, int(np.random.choice(self.short_edges)), self.max_edge))


@TRANSFORMS.register_module()
class CropClip(BaseTransform):
    """Cuts one window out of all frames; a frame that is smaller is kept whole along that axis.

    Args:
        size: (height, width) in pixels; None: both are drawn anew for every clip.
        between: least and most pixels that height and width are drawn from, each by itself, where ``size`` is None.
    """

    def __init__(self, size: Size | None = None, between: tuple[int, int] | None = None) -> None:
        if (size is None) == (between is None):
            raise ValueError(f'a crop needs either size or between, got size={size} and between={between}')
        self.size, self.between = size, between

    def transform(self, results: dict) -> dict:
        """Crops all frames and maps."""
        size = self.size or tuple(np.random.randint(self.between[0], self.between[1] + 1, 2).tolist())
        return crop_clip(results, size)


@TRANSFORMS.register_module()
class FlipClip(BaseTransform):
    """Mirrors all frames from left to right.

    Args:
        prob: how often.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Mirrors all frames and maps."""
        if np.random.rand() >= self.prob:
            return results
        return dict(results, clip=results['clip'][:, :, ::-1], maps=results['maps'][..., ::-1])


@TRANSFORMS.register_module()
class RotateClip(BaseTransform):
    """Turns every frame by an angle of its own, so that a still image moves (DVIS's pseudo-clips of COCO).

    The angles rise or fall with time; the point all turn about is drawn once a clip. The canvas keeps its size; corners that
    come in are black and no object.

    Args:
        angle: most degrees in either direction.
        centre: least and most of the point's place, as shares of width and height.
    """

    def __init__(self, angle: float = 15.0, centre: tuple[float, float] = (0.4, 0.6)) -> None:
        self.angle, self.centre = angle, centre

    def transform(self, results: dict) -> dict:
        """Turns each frame and its maps."""
        num_frames, height, width = results['clip'].shape[:3]
        angles = np.sort(np.random.uniform(-self.angle, self.angle, num_frames))
        if np.random.rand() < 0.5:
            angles = angles[::-1]
        x, y = np.random.uniform(*self.centre, 2) * (width, height)
        turns = [cv2.getRotationMatrix2D((x - 0.5, y - 0.5), float(angle), 1.0) for angle in angles]

        def turned(image: np.ndarray, turn: np.ndarray, how: int) -> np.ndarray:
            return cv2.warpAffine(image, turn, (width, height), flags=how)

        clip = np.stack([turned(frame, turn, cv2.INTER_LINEAR) for frame, turn in zip(results['clip'], turns)])
        kind = results['maps'].dtype
        maps = np.stack(
            [
                np.stack([turned(one.astype(np.float32), turn, cv2.INTER_NEAREST) for one, turn in zip(layer, turns)])
                for layer in results['maps']
            ]
        ).astype(kind)  # every index is exact as a float
        return dict(results, clip=clip, maps=maps)


@TRANSFORMS.register_module()
class JitterClip(BaseTransform):
    """Large-scale jitter: resizes by a random factor, then cuts or pads to a fixed square (COCO pre-training).

    Args:
        size: edge of the square in pixels.
        scales: least and most factor; factor 1 is the largest size that fits into the square.
    """

    def __init__(self, size: int = 1024, scales: tuple[float, float] = (0.1, 2.0)) -> None:
        self.size, self.scales = size, scales

    def transform(self, results: dict) -> dict:
        """Resizes, crops and pads; padding is grey and no object."""
        height, width = results['clip'].shape[1:3]
        scale = np.random.uniform(*self.scales) * self.size / max(height, width)
        results = resize_clip(results, tuple(max(1, round(length * scale)) for length in (height, width)))
        results = crop_clip(results, (self.size, self.size))
        missing = [(0, self.size - length) for length in results['clip'].shape[1:3]]
        return dict(
            results,
            clip=np.pad(results['clip'], ((0, 0), *missing, (0, 0)), constant_values=GREY),
            maps=np.pad(results['maps'], ((0, 0), (0, 0), *missing)),
        )
