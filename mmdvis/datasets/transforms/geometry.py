"""Geometric transforms of a clip.

The random parameters are drawn once per clip and shared by all frames, except in :class:`RotateClip`. The transforms
read and replace ``clip`` uint8 (T, H, W, 3), ``maps`` (L, T, H, W) and, if there is one, ``semantic`` (T, H, W), as
returned by :class:`LoadClip`, and ``flows`` (N, 2, H, W), as returned by :class:`LoadFlow`.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmdvis.errors import OptionError
from mmdvis.io import short_edge_size
from mmdvis.registry import TRANSFORMS
from mmdvis.structures import VOID

Size = tuple[int, int]
GREY = 128  # padding value of detectron2, before normalisation
OUTSIDE = dict(maps=0, semantic=VOID)  # fields with ground truth -> value of pixels outside the image


def resize_frames(frames: np.ndarray, size: Size) -> np.ndarray:
    """Resize frames uint8 (T, H, W, 3) to (T, *size, 3) with the bilinear filter of Pillow, as in detectron2."""
    return np.stack([np.asarray(Image.fromarray(frame).resize(size[::-1], Image.BILINEAR)) for frame in frames])


def resize_maps(maps: np.ndarray, size: Size) -> np.ndarray:
    """Resize maps uint8 or int32 (..., H, W) to (..., *size) with nearest-neighbour interpolation."""
    resized = [
        np.asarray(Image.fromarray(layer).resize(size[::-1], Image.NEAREST))
        for layer in maps.reshape(-1, *maps.shape[-2:])
    ]
    return np.stack(resized).reshape(*maps.shape[:-2], *size)


def resize_flows(flows: np.ndarray, size: Size) -> np.ndarray:
    """Resize flows (N, 2, H, W) to (N, 2, *size) with bilinear interpolation; displacements scale with the frames."""
    scale = np.array([size[1] / flows.shape[3], size[0] / flows.shape[2]], np.float32)[:, None, None]
    return np.stack([[cv2.resize(part, size[::-1]) for part in flow] for flow in flows]) * scale


def flip_flows(flows: np.ndarray) -> np.ndarray:
    """Mirror flows (N, 2, H, W) horizontally, which also changes the sign of the horizontal displacements."""
    return flows[..., ::-1] * np.array([-1, 1], np.float32)[:, None, None]


def changed_clip(
    results: dict,
    clip: np.ndarray,
    change: Callable[[np.ndarray, int], np.ndarray],
    change_flows: Callable[[np.ndarray], np.ndarray],
) -> dict:
    """Replace the frames and change ground truth and optical flow in the same way.

    Args:
        results: The clip.
        clip: New frames.
        change: Function (maps (..., T, H, W), value of pixels outside the image) -> new maps.
        change_flows: Function (flows (N, 2, H, W)) -> new flows.
    """
    changed = {name: change(results[name], value) for name, value in OUTSIDE.items() if name in results}
    if 'flows' in results:
        changed['flows'] = change_flows(results['flows'])
    return dict(results, clip=clip, **changed)


def resize_clip(results: dict, size: Size) -> dict:
    """Resize the frames and maps of a clip to ``size`` (height, width)."""
    if tuple(results['clip'].shape[1:3]) == tuple(size):
        return results
    return changed_clip(
        results,
        resize_frames(results['clip'], size),
        lambda maps, _: resize_maps(maps, size),
        lambda flows: resize_flows(flows, size),
    )


def crop_clip(results: dict, size: Size) -> dict:
    """Crop a random window of ``size`` (height, width), or the full extent along an axis that is shorter."""
    top, left = (
        np.random.randint(max(length - window, 0) + 1) for length, window in zip(results['clip'].shape[1:3], size)
    )
    rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
    return changed_clip(
        results,
        results['clip'][:, rows, columns],
        lambda maps, _: maps[..., rows, columns],
        lambda flows: flows[..., rows, columns],
    )


@TRANSFORMS.register_module()
class ResizeClip(BaseTransform):
    """Resizes the short edge to a random length and keeps the aspect ratio.

    Args:
        short_edges: Candidate lengths of the short edge, in pixels.
        max_edge: Maximum length of the long edge, in pixels. None disables the limit.
    """

    def __init__(self, short_edges: Sequence[int], max_edge: int | None = None) -> None:
        self.short_edges, self.max_edge = tuple(short_edges), max_edge

    def transform(self, results: dict) -> dict:
        """Resize all frames and maps."""
        size = results['clip'].shape[1:3]
        return resize_clip(results, short_edge_size(size, int(np.random.choice(self.short_edges)), self.max_edge))


@TRANSFORMS.register_module()
class ScaleClip(BaseTransform):
    """Resizes to a base size times a random factor.

    Args:
        base: (height, width) for the factor 1, in pixels.
        scales: Minimum and maximum of the uniformly distributed factor.

    Raises:
        ValueError: The factors are not positive and ascending.
    """

    def __init__(self, base: Size, scales: tuple[float, float] = (0.8, 1.25)) -> None:
        if not 0 < scales[0] <= scales[1]:
            raise ValueError(f'scales must be positive and ascending, got {scales}')
        self.base, self.scales = tuple(base), scales

    def transform(self, results: dict) -> dict:
        """Resize all frames and maps."""
        factor = np.random.uniform(*self.scales)
        height, width = (round(factor * length) for length in self.base)
        return resize_clip(results, (height, width))


@TRANSFORMS.register_module()
class CropClip(BaseTransform):
    """Crops the same random window from all frames.

    A frame that is smaller than the window along an axis keeps its full extent along this axis.

    Args:
        size: (height, width) of the window, in pixels. None draws both for each clip.
        between: Minimum and maximum (inclusive) of the range from which height and width are drawn independently if
            ``size`` is None, in pixels.

    Raises:
        ValueError: Both or neither of ``size`` and ``between`` are given.
    """

    def __init__(self, size: Size | None = None, between: tuple[int, int] | None = None) -> None:
        if (size is None) == (between is None):
            raise ValueError(f'specify either size or between, got size={size} and between={between}')
        self.size, self.between = size, between

    def transform(self, results: dict) -> dict:
        """Crop all frames and maps."""
        size = self.size or tuple(np.random.randint(self.between[0], self.between[1] + 1, 2).tolist())
        return crop_clip(results, size)


@TRANSFORMS.register_module()
class FlipClip(BaseTransform):
    """Flips all frames horizontally.

    Args:
        prob: Probability of the flip.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Flip all frames and maps."""
        if np.random.rand() >= self.prob:
            return results
        return changed_clip(results, results['clip'][:, :, ::-1], lambda maps, _: maps[..., ::-1], flip_flows)


@TRANSFORMS.register_module()
class RotateClip(BaseTransform):
    """Rotates each frame by its own angle, to simulate motion in a repeated image (pseudo-clips of COCO in DVIS).

    The angles are sorted in ascending or descending order. The centre of rotation is drawn once per clip. The frames
    keep their size; uncovered corners are black and belong to no object.

    Args:
        angle: Maximum absolute angle, in degrees.
        centre: Minimum and maximum of the centre of rotation, relative to width and height.
    """

    def __init__(self, angle: float = 15.0, centre: tuple[float, float] = (0.4, 0.6)) -> None:
        self.angle, self.centre = angle, centre

    def transform(self, results: dict) -> dict:
        """Rotate each frame and its maps; raises OptionError if there is optical flow."""
        if 'flows' in results:
            raise OptionError('RotateClip moves each frame differently, so LoadFlow cannot be used with it')
        num_frames, height, width = results['clip'].shape[:3]
        angles = np.sort(np.random.uniform(-self.angle, self.angle, num_frames))
        if np.random.rand() < 0.5:
            angles = angles[::-1]
        x, y = np.random.uniform(*self.centre, 2) * (width, height)
        matrices = [cv2.getRotationMatrix2D((x - 0.5, y - 0.5), float(angle), 1.0) for angle in angles]

        def turned(image: np.ndarray, turn: np.ndarray, how: int, outside: int = 0) -> np.ndarray:
            return cv2.warpAffine(image, turn, (width, height), flags=how, borderValue=outside)

        def turned_maps(maps: np.ndarray, outside: int) -> np.ndarray:
            layers = maps.reshape(-1, num_frames, height, width)
            turned_layers = [
                turned(ids.astype(np.float32), turn, cv2.INTER_NEAREST, outside)
                for layer in layers
                for ids, turn in zip(layer, matrices)
            ]
            return np.stack(turned_layers).reshape(maps.shape).astype(maps.dtype)  # float32 holds every index exactly

        clip = np.stack([turned(frame, turn, cv2.INTER_LINEAR) for frame, turn in zip(results['clip'], matrices)])
        return dict(
            results,
            clip=clip,
            **{name: turned_maps(results[name], OUTSIDE[name]) for name in OUTSIDE if name in results},
        )


@TRANSFORMS.register_module()
class JitterClip(BaseTransform):
    """Large-scale jitter: resizes by a random factor, then crops or pads to a fixed square (COCO pre-training).

    Args:
        size: Edge length of the square, in pixels.
        scales: Minimum and maximum factor, where 1 is the largest size that fits into the square.
    """

    def __init__(self, size: int = 1024, scales: tuple[float, float] = (0.1, 2.0)) -> None:
        self.size, self.scales = size, scales

    def transform(self, results: dict) -> dict:
        """Resize, crop and pad; the padding is grey and belongs to no object."""
        height, width = results['clip'].shape[1:3]
        scale = np.random.uniform(*self.scales) * self.size / max(height, width)
        results = resize_clip(results, tuple(max(1, round(length * scale)) for length in (height, width)))
        results = crop_clip(results, (self.size, self.size))
        missing = [(0, self.size - length) for length in results['clip'].shape[1:3]]
        clip = np.pad(results['clip'], ((0, 0), *missing, (0, 0)), constant_values=GREY)

        def padded(maps: np.ndarray, outside: int) -> np.ndarray:
            return np.pad(maps, (*[(0, 0)] * (maps.ndim - 2), *missing), constant_values=outside)

        return changed_clip(results, clip, padded, lambda flows: padded(flows, 0))
