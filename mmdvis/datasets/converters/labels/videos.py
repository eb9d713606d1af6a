"""Labelled videos of any labelling tool, and the masks and folders that its readers share."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmdvis.datasets.annotation_json import Entry, parse_json, read_bytes
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


class ImageFinder:
    """Finds the images that an annotation file names below a folder.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.by_name: dict[str, list[Path]] = {}
        for path in sorted(root.rglob('*')):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                self.by_name.setdefault(path.name, []).append(path)

    def __call__(self, name: str, where: str) -> Path:
        """The image whose path ends like a name; of several, the one with the most common folders.

        Args:
            name: Path or address in the annotation file, such as ``video/0001.jpg``.
            where: Location in the annotation file, for error messages.

        Raises:
            DataError: There is none, or several match equally well.
        """
        parts = PurePosixPath(name.replace('\\', '/')).parts
        found = self.by_name.get(parts[-1] if parts else '', [])
        if not found:
            raise DataError(
                f'{where}: there is no image {name} below {self.root}; put the images beside the annotations'
            )
        common = [sum(a == b for a, b in zip(reversed(path.parts), reversed(parts))) for path in found]
        best = [path for path, number in zip(found, common) if number == max(common)]
        if len(best) > 1:
            raise DataError(f'{where}: {name} may be {best[0]} or {best[1]}; remove one')
        return best[0]


def common_end(first: Sequence[str], second: Sequence[str]) -> int:
    """Number of equal items at the ends of two sequences."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(reversed(first), reversed(second)))))


def videos_of(frames: Sequence[tuple[str, Any, Path, Masks]]) -> list[LabelledVideo]:
    """Videos from labelled images.

    Args:
        frames: Name of the video, position in it (numbers, or natural keys), image, and the masks of the image with the
            frame 0, the masks in front last.

    Raises:
        DataError: The images of a video differ in size, or have the same name.
    """
    grouped: dict[str, list[tuple[Any, Path, Masks]]] = {}
    for name, position, image, masks in frames:
        grouped.setdefault(name, []).append((position, image, masks))
    videos = []
    for name, entries in sorted(grouped.items(), key=lambda item: natural_key(item[0])):
        entries.sort(key=lambda entry: entry[0])
        images, masks = [image for _, image, _ in entries], Masks()
        size = frame_size(images)
        for t, (_, _, found) in enumerate(entries):
            for key, codes in found.items():
                add(masks, key, t, codes[0])
        videos.append(LabelledVideo(name, tuple(images), size, objects_of(masks)))
    return videos


def json_files(root: Path, keys: Sequence[str]) -> list[Entry]:
    """The JSON files of a folder, or of ``annotations`` in it, that have certain fields.

    Args:
        root: The folder.
        keys: Names of the fields.

    Raises:
        DataError: There are none, or a file is malformed.
    """
    if not root.is_dir():
        raise DataError(f'there is no folder {root}')
    paths = sorted([*root.glob('*.json'), *root.glob('annotations/*.json')])
    contents = [parse_json(read_bytes(path), path) for path in paths]
    fitting = [content for content in contents if all(key in content.value for key in keys)]
    if not fitting:
        raise DataError(f'neither {root} nor {root / "annotations"} has a json with {" and ".join(keys)}')
    return fitting


def box_mask(box: Any, size: Size, where: str) -> dict[str, Any]:
    """The mask of a box ``[x, y, width, height]``; raises DataError for anything else."""
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(x, (int, float)) for x in box):
        raise DataError(f'{where}: a box must be [x, y, width, height], got {str(box)[:60]}')
    x, y, width, height = box
    return polygon_mask([x, y, x + width, y, x + width, y + height, x, y + height], size, where)


def any_mask(mask: Any, size: Size, where: str) -> dict[str, Any]:
    """The mask of polygons or run lengths in the form of COCO; raises DataError for anything else."""
    check_segmentation(mask, size, where)
    return compress(mask, size, where)


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
