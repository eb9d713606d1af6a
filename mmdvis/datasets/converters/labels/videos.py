"""Labelled videos of any labelling tool, and the masks and folders that its readers share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmdvis.errors import DataError
from mmdvis.io import IMAGE_SUFFIXES, image_size, natural_key
from mmdvis.io.rle import check_segmentation, compress

Size = tuple[int, int]

Masks = dict[tuple[str, Any], dict[int, dict[str, Any]]]  # (label, identity) -> frame -> mask


@dataclass(frozen=True)
class LabelledObject:
    """An object or region of a video.

    Attributes:
        label: Name of its class.
        masks: Index of a frame -> mask in the compressed form of pycocotools; frames without it have no entry.
    """

    label: str
    masks: dict[int, dict[str, Any]]


@dataclass(frozen=True)
class LabelledVideo:
    """A video with its objects.

    Attributes:
        name: Name of the video.
        images: Image of each frame, at least one.
        size: (height, width) of the frames.
        objects: Its objects; where masks overlap, later objects are in front.
    """

    name: str
    images: tuple[Path, ...]
    size: Size
    objects: tuple[LabelledObject, ...]


def encode(mask: np.ndarray) -> dict[str, Any]:
    """A mask (H, W) in the compressed form of pycocotools."""
    return coco_mask.encode(np.asfortranarray(mask, np.uint8))


def polygon_mask(points: Sequence[float], size: Size, where: str) -> dict[str, Any]:
    """The mask of a polygon x, y, x, y, ... in pixels.

    Raises:
        DataError: A coordinate is not finite or far outside the frame.
    """
    polygon = [[float(x) for x in points]]
    check_segmentation(polygon, size, where)
    return compress(polygon, size, where)


def frame_size(images: Sequence[Path]) -> Size:
    """(height, width) of the frames of a video.

    Raises:
        DataError: There are none, one cannot be read, or their sizes differ.
    """
    if not images:
        raise DataError('a video must have at least one image')
    stems = [image.stem for image in images]
    double = next((image for k, image in enumerate(images) if image.stem in stems[:k]), None)
    if double is not None:
        raise DataError(f'{double.parent} has several images called {double.stem}; remove all but one')
    sizes = {image: image_size(image) for image in images}
    first = sizes[images[0]]
    other = next((image for image, size in sizes.items() if size != first), None)
    if other is not None:
        raise DataError(
            f'{other} is {sizes[other]} (height, width), but {images[0]} is {first}; all frames of a video must have '
            'the same size'
        )
    return first


def images_in(folder: Path) -> list[Path]:
    """Images of a folder in natural order."""
    return sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=natural_key)


def video_folders(root: Path, *patterns: str) -> list[tuple[Path, Path]]:
    """Folders of videos, which are ``root`` itself or are in it, and the first file of each that matches a pattern.

    Args:
        root: Folder of a video, or of several.
        patterns: Names of files relative to the folder of a video, which may contain ``*``.

    Raises:
        DataError: There are none.
    """
    root = root.resolve()  # so that it has a name
    if not root.is_dir():
        raise DataError(f'there is no folder {root}')
    folders = [folder for folder in (root, *sorted(root.iterdir(), key=natural_key)) if folder.is_dir()]
    matches = [(folder, sorted(path for pattern in patterns for path in folder.glob(pattern))) for folder in folders]
    found = [(folder, paths[0]) for folder, paths in matches if paths]
    if not found:
        raise DataError(f'neither {root} nor a folder in it has {" or ".join(patterns)}; check the folder and --from')
    return found


def objects_of(masks: Masks) -> tuple[LabelledObject, ...]:
    """Objects, in the order in which they were found."""
    return tuple(LabelledObject(label, frames) for (label, _), frames in masks.items())


def add(masks: Masks, key: tuple[str, Any], frame: int, mask: dict[str, Any]) -> None:
    """Adds a mask to those of an object in a frame, unless it is empty."""
    if not coco_mask.area(mask):
        return
    frames = masks.setdefault(key, {})
    frames[frame] = coco_mask.merge([frames[frame], mask]) if frame in frames else mask


def numbers_of(points: Any, where: str) -> np.ndarray:
    """Points (N, 2) from a list of pairs of numbers; raises DataError for anything else."""
    try:
        array = np.array(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.zeros(0)
    if array.ndim != 2 or array.shape[1] != 2 or not (np.abs(array) < 1e6).all():
        raise DataError(f'{where}: points must be pairs of numbers, got {str(points)[:60]}')
    return array


def check_place(shape: tuple[int, ...], top: int, left: int, size: tuple[int, int], where: str) -> None:
    """Checks that a crop (h, w) at a place is inside the frame.

    Raises:
        DataError: It is not, or has no pixels.
    """
    is_inside = len(shape) == 2 and min(shape) > 0 and top >= 0 and left >= 0
    if not is_inside or top + shape[0] > size[0] or left + shape[1] > size[1]:
        raise DataError(f'{where}: a mask of {shape} at line {top}, column {left} is not inside the frame of {size}')


def placed(crop: np.ndarray, top: int, left: int, size: tuple[int, int], where: str) -> np.ndarray:
    """A mask (H, W) with a crop (h, w) at a place; raises DataError if it is not inside."""
    check_place(crop.shape, top, left, size, where)
    mask = np.zeros(size, bool)
    mask[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    return mask
