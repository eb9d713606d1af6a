"""Labelled videos of any labelling tool, and the masks and folders that its readers share."""

import math
import os
from collections import Counter
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

EXPORT_FOLDERS = ('images', 'default', 'data', 'train', 'val', 'test', 'Train', 'Validation', 'Test')  # not of a video
MAX_PIXELS = 1e6
Size = tuple[int, int]
Masks = dict[tuple[str, Any], dict[int, dict[str, Any]]]  # (label, identity) -> frame -> mask
Fronts = dict[tuple[str, Any], int]  # (label, identity) -> place; those with a higher one are in front


@dataclass(frozen=True)
class LabelledObject:
    """An object or region of a video.

    Attributes:
        label: Name of its class.
        masks: Index of a frame -> mask in the compressed form of pycocotools; frames without it have no entry.
        has_identity: Whether the labels tell it from others; otherwise it is all regions of its class.
    """

    label: str
    masks: dict[int, dict[str, Any]]
    has_identity: bool = True


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


def frame_size(images: Sequence[Path], same_stems: bool = False) -> Size:
    """(height, width) of the frames of a video; ``same_stems`` allows images of the same name.

    Raises:
        DataError: There are none, one cannot be read, or their sizes differ.
    """
    if not images:
        raise DataError('a video must have at least one image')
    stems = Counter(image.stem for image in images)
    double = next((image for image in images if stems[image.stem] > 1), None)
    if double is not None and not same_stems:
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
    found = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != '.')
    return sorted(found, key=natural_key)


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
    """Finds the image files in a folder and its subfolders that an annotation file refers to.

    Args:
        root: The folder. Hidden files are left out, links are followed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.by_end: dict[tuple[str, ...], list[Path]] = {}  # last name, or last two names of a path -> paths
        for folder, folders, files in os.walk(root, followlinks=True):
            folders[:] = sorted(name for name in folders if not name.startswith('.'))
            for name in sorted(files):
                path = Path(folder, name)
                if not name.startswith('.') and path.suffix.lower() in IMAGE_SUFFIXES:
                    for end in {path.parts[-1:], path.parts[-2:]}:
                        self.by_end.setdefault(end, []).append(path)

    def __call__(self, name: str, where: str) -> Path:
        """The image whose path ends like a name.

        A name with a folder also fits an image that is in no folder of a video, as exports without folders have them.

        Args:
            name: Path in the annotation file, such as ``video/0001.jpg``.
            where: Location in the annotation file, for error messages.

        Raises:
            DataError: There is none, or several match equally well.
        """
        parts = tuple(part for part in PurePosixPath(name.replace('\\', '/')).parts if part not in ('.', '/'))
        found = self.by_end.get(parts[-2:], []) if len(parts) > 1 else self.by_end.get(parts, [])
        if not found and len(parts) > 1:
            found = [path for path in self.by_end.get(parts[-1:], []) if not self.folders(path)]
        if not found:
            raise DataError(
                f'{where}: there is no image {name[:80]} below {self.root}; put the images beside the annotations'
            )
        common = [common_end(path.parts, parts) for path in found]
        best = [path for path, number in zip(found, common) if number == max(common)]
        if len(best) > 1:
            raise DataError(f'{where}: {name} may be {best[0]} or {best[1]}; remove one')
        return best[0]

    def folders(self, path: Path) -> tuple[str, ...]:
        """Folders between the root and an image, without those that exports have for all videos."""
        return tuple(part for part in path.relative_to(self.root).parts[:-1] if part not in EXPORT_FOLDERS)


def common_end(first: Sequence[str], second: Sequence[str]) -> int:
    """Number of equal items at the ends of two sequences."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(reversed(first), reversed(second)))))


@dataclass(frozen=True)
class LabelledImage:
    """A labelled frame.

    Attributes:
        video: What tells its video from others, such as folders; the last part is its name.
        position: Position in the video, to sort by.
        image: The image.
        masks: Masks of the objects, those in front last; the only frame is 0.
    """

    video: tuple[str, ...]
    position: tuple
    image: Path
    masks: Masks


def videos_of(frames: Sequence[LabelledImage]) -> list[LabelledVideo]:
    """Videos from labelled images.

    Videos with the same name are called by all parts that tell them from others. If the order of the frames is not that
    of their names, they keep it, and get new names when they are written.

    Raises:
        DataError: An image occurs twice, or the images of a video differ in size.
    """
    grouped: dict[tuple[str, ...], list[LabelledImage]] = {}
    for frame in frames:
        grouped.setdefault(frame.video, []).append(frame)
    short = Counter(key[-1] for key in grouped)
    videos = []
    for key, entries in sorted(grouped.items(), key=lambda item: [natural_key(part) for part in item[0]]):
        entries.sort(key=lambda entry: entry.position)
        twice = next((image for image, number in Counter(e.image for e in entries).items() if number > 1), None)
        if twice is not None:
            raise DataError(f'{twice} is labelled twice, perhaps in two files; keep one of them')
        images, masks, fronts = [entry.image for entry in entries], Masks(), Fronts()
        size = frame_size(images, same_stems=True)
        for t, entry in enumerate(entries):
            for front, (owner, codes) in enumerate(entry.masks.items()):
                add(masks, owner, t, codes[0])
                fronts[owner] = max(front, fronts.get(owner, 0))
        name = key[-1] if short[key[-1]] == 1 else '_'.join(key)
        videos.append(LabelledVideo(name, tuple(images), size, objects_of(masks, fronts)))
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
    fitting = [content for content in contents if all(content.value.get(key) for key in keys)]
    if not fitting:
        raise DataError(
            f'neither {root} nor {root / "annotations"} has a json with {" and ".join(keys)}, none of them empty'
        )
    return fitting


def is_pixels(value: Any) -> bool:
    """Whether a value is a number of pixels."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MAX_PIXELS


def box_mask(box: Any, size: Size, where: str, turn: float = 0.0) -> dict[str, Any]:
    """The mask of a box ``[x, y, width, height]``, turned around its centre by degrees.

    Raises:
        DataError: It is anything else.
    """
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_pixels, box)):
        raise DataError(f'{where}: a box must be [x, y, width, height], got {str(box)[:60]}')
    x, y, width, height = box
    centre = x + width / 2, y + height / 2
    corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    return polygon_mask(turned(corners, centre, turn), size, where)


def attributes_of(annotation: Entry) -> dict[str, Any]:
    """The ``attributes`` of an annotation, empty if it has none."""
    attributes = annotation.value.get('attributes')
    return attributes if isinstance(attributes, dict) else {}


def rotation_of(annotation: Entry) -> float:
    """The attribute ``rotation`` of an annotation in degrees, as CVAT writes it; 0 if it has none.

    Raises:
        DataError: It is not a number.
    """
    degrees = attributes_of(annotation).get('rotation', 0)
    if not is_pixels(degrees):
        raise DataError(f'{annotation.where}: rotation must be a number of degrees, got {str(degrees)[:60]}')
    return degrees


def turned(points: Sequence[tuple[float, float]], centre: tuple[float, float], degrees: float) -> list[float]:
    """Points as x, y, x, y, ..., turned clockwise around a centre."""
    angle = math.radians(degrees)
    cosine, sine, (x, y) = math.cos(angle), math.sin(angle), centre
    return [
        value
        for a, b in points
        for value in (x + cosine * (a - x) - sine * (b - y), y + sine * (a - x) + cosine * (b - y))
    ]


def ellipse_mask(centre: tuple[float, float], radii: tuple[float, float], degrees: float, size: Size) -> dict[str, Any]:
    """The mask of the pixels whose centres are in an ellipse, turned clockwise by degrees."""
    reach = max(radii) + 1
    left, right = (min(max(int(centre[0] + side * reach), 0), size[1]) for side in (-1, 1))
    top, bottom = (min(max(int(centre[1] + side * reach), 0), size[0]) for side in (-1, 1))
    rows, columns = np.mgrid[top:bottom, left:right] + 0.5
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across, down = columns - centre[0], rows - centre[1]
    first, second = cosine * across + sine * down, cosine * down - sine * across
    mask = np.zeros(size, bool)
    widths = max(radii[0], 1e-6), max(radii[1], 1e-6)
    mask[top:bottom, left:right] = (first / widths[0]) ** 2 + (second / widths[1]) ** 2 <= 1
    return encode(mask)


def any_mask(mask: Any, size: Size, where: str) -> dict[str, Any]:
    """The mask of polygons or run lengths in the form of COCO; raises DataError for anything else."""
    check_segmentation(mask, size, where)
    return compress(mask, size, where)


def objects_of(masks: Masks, fronts: Fronts | None = None) -> tuple[LabelledObject, ...]:
    """Objects from back to front, or without ``fronts`` in the order in which they were found."""
    keys = list(masks) if fronts is None else sorted(masks, key=fronts.__getitem__)
    return tuple(LabelledObject(key[0], masks[key], key[1] is not None) for key in keys)


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
    if array.ndim != 2 or array.shape[1] != 2 or not (np.abs(array) < MAX_PIXELS).all():
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
