"""Readers of the files of labelling tools: labelme, CVAT, MOTS, and mask images."""

import base64
import io
import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from mmdvis.datasets.annotation_json import parse_json, read_bytes
from mmdvis.errors import DataError
from mmdvis.io import IMAGE_SUFFIXES, natural_key, read_pixels
from mmdvis.io.rle import compress

from .labelled import LabelledObject, LabelledVideo, encode, frame_size, polygon_mask

Masks = dict[tuple[str, Any], dict[int, dict[str, Any]]]  # (label, identity) -> frame -> mask
VOID = 255  # value of mask images that belongs to no object
IGNORED = 10  # class of regions without labels in MOTS
MOTS_CLASSES = {1: 'car', 2: 'pedestrian'}


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


def read_labelme(root: Path) -> list[LabelledVideo]:
    """Videos labelled with labelme: a folder for each, with an image and a json of the same name for each frame.

    Shapes of a label with the same ``group_id`` are one object in all frames; those without are one object or region.
    Frames without a json are left out.

    Args:
        root: Folder of a video, or of several.

    Raises:
        DataError: A file is missing or malformed, with its name and what is wrong.
    """
    return [labelme_video(folder) for folder, _ in video_folders(root, '*.json')]


def labelme_video(folder: Path) -> LabelledVideo:
    """A video labelled with labelme; see :func:`read_labelme`."""
    by_stem = {image.stem: image for image in images_in(folder)}
    files = sorted(folder.glob('*.json'), key=natural_key)
    missing = next((file for file in files if file.stem not in by_stem), None)
    if missing is not None:
        raise DataError(f'{missing} has no image of the same name beside it')
    images = [by_stem[file.stem] for file in files]
    size, masks = frame_size(images), Masks()
    for frame, file in enumerate(files):
        content = parse_json(read_bytes(file), file)
        stated = content.value.get('imageHeight'), content.value.get('imageWidth')
        if None not in stated and stated != size:
            raise DataError(f'{file} states {stated} (height, width), but its image is {size}')
        for k, shape in enumerate(content.items('shapes')):
            where = f'{file}, shape {k}'
            if not isinstance(shape, dict) or not isinstance(shape.get('label'), str) or not shape['label']:
                raise DataError(f'{where}: a shape must have a label, got {str(shape)[:60]}')
            group = shape.get('group_id')
            if not isinstance(group, (int, str, type(None))):
                raise DataError(f'{where}: group_id must be a number or null, got {str(group)[:60]}')
            add(masks, (shape['label'], group), frame, labelme_mask(shape, size, where))
    return LabelledVideo(folder.name, tuple(images), size, objects_of(masks))


def labelme_mask(shape: dict[str, Any], size: tuple[int, int], where: str) -> dict[str, Any]:
    """Mask of a shape: polygon, rectangle, circle or mask."""
    kind, points = shape.get('shape_type', 'polygon'), numbers_of(shape.get('points'), where)
    least = dict(polygon=3, rectangle=2, circle=2, mask=2).get(str(kind))
    if least is None:
        raise DataError(f'{where}: shape_type must be polygon, rectangle, circle or mask, got {kind}')
    if len(points) < least or (kind != 'polygon' and len(points) != least):
        raise DataError(
            f'{where}: a {kind} must have {least} points{" or more" * (kind == "polygon")}, got {len(points)}'
        )
    if kind == 'polygon':
        return polygon_mask(points.ravel().tolist(), size, where)
    if kind == 'circle':
        radius, (x, y) = math.dist(*points), points[0]
        rows, columns = np.mgrid[: size[0], : size[1]]
        return encode((rows + 0.5 - y) ** 2 + (columns + 0.5 - x) ** 2 <= radius**2)
    (left, top), (right, bottom) = points.min(0), points.max(0)
    if kind == 'rectangle':
        return polygon_mask([left, top, right, top, right, bottom, left, bottom], size, where)
    try:
        crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape['mask'], validate=True)))) > 0
    except (KeyError, TypeError, ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f'{where}: its mask is not a base64-encoded PNG ({error})') from None
    return encode(placed(crop, round(top), round(left), size, where))


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


def read_cvat(root: Path) -> list[LabelledVideo]:
    """Videos exported as "CVAT for video 1.1": a folder for each with ``annotations.xml`` and ``images``.

    A track is one object. Where it is ``outside``, it has no mask. Polygons, boxes, ellipses and masks are read.
    CVAT has no tracks of masks: it writes each mask as a track of its own. Masks of one label and ``group_id`` are one
    object, and so are all masks of a label without a group. Shapes with a higher ``z_order`` are in front.

    Args:
        root: Folder of a video, or of several.

    Raises:
        DataError: A file is missing or malformed, with its name and what is wrong.
    """
    return [cvat_video(folder, path) for folder, path in video_folders(root, '*.xml')]


def cvat_video(folder: Path, path: Path) -> LabelledVideo:
    """A video of CVAT; see :func:`read_cvat`."""
    images = images_in(folder / 'images' if (folder / 'images').is_dir() else folder)
    if not images:
        raise DataError(f'{folder} has no images; export the task with "Save images"')
    size, masks = frame_size(images), Masks()
    try:
        tree = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, OSError) as error:
        raise DataError(f'{path} is not XML ({error}); export the task again') from None
    if tree.tag != 'annotations':
        raise DataError(f'{path} is not an export of CVAT for video: its first element is {tree.tag}')
    if tree.find('image') is not None:
        raise DataError(f'{path} is an export "CVAT for images", which has no tracks; export "CVAT for video 1.1"')
    positions, fronts = frame_positions(images), dict[tuple[str, Any], int]()
    for track in tree.findall('track'):
        where, label = f'{path}, track {track.get("id")}', track.get('label')
        if not label:
            raise DataError(f'{where} has no label')
        for shape in track:
            if shape.get('outside') == '1':
                continue
            frame = integer_of(shape, 'frame', where)
            if frame not in positions:
                raise DataError(f'{where}: there is no image of frame {frame}; the video has {len(images)} images')
            identity = ('masks', track.get('group_id')) if shape.tag == 'mask' else track.get('id')
            add(masks, (label, identity), positions[frame], cvat_mask(shape, size, f'{where}, frame {frame}'))
            front = integer_of(shape, 'z_order', where) if shape.get('z_order') else 0
            fronts[label, identity] = max(front, fronts.get((label, identity), front))
    ordered = dict(sorted(masks.items(), key=lambda entry: fronts[entry[0]]))
    return LabelledVideo(folder.name, tuple(images), size, objects_of(ordered))


def frame_positions(images: Sequence[Path]) -> dict[int, int]:
    """Maps the frame numbers of CVAT to positions in ``images``.

    Names such as ``frame_000012`` contain the number; otherwise the images are numbered in the order of their names.
    """
    numbers = [re.fullmatch(r'frame_(\d+)', image.stem) for image in images]
    if all(numbers):
        return {int(match[1]): k for k, match in enumerate(numbers) if match}
    ordered = sorted(images, key=lambda image: image.name)  # as CVAT numbers them
    return {k: images.index(image) for k, image in enumerate(ordered)}


def integer_of(element: ElementTree.Element, name: str, where: str) -> int:
    """An attribute that must be an integer."""
    value = element.get(name)
    try:
        return int(str(value))
    except ValueError:
        raise DataError(f'{where}: {name} must be an integer, got {value!r}') from None


def cvat_mask(shape: ElementTree.Element, size: tuple[int, int], where: str) -> dict[str, Any]:
    """Mask of a shape of CVAT."""

    def number(name: str, default: str | None = None) -> float:
        try:
            value = float(str(shape.get(name, default)))
        except ValueError:
            value = math.nan
        if not abs(value) < 1e6:
            raise DataError(f'{where}: {name} must be a number of pixels, got {shape.get(name)!r}')
        return value

    if shape.tag == 'polygon':
        text = shape.get('points') or ''
        try:
            points = [float(x) for pair in text.split(';') for x in pair.split(',')]
        except ValueError:
            points = []
        if len(points) < 6 or len(points) % 2:
            raise DataError(f'{where}: points must be at least three pairs "x,y;x,y;...", got {text[:60]!r}')
        return polygon_mask(points, size, where)
    turn = math.radians(number('rotation', '0'))
    cosine, sine = math.cos(turn), math.sin(turn)
    if shape.tag == 'box':
        left, top, right, bottom = (number(name) for name in ('xtl', 'ytl', 'xbr', 'ybr'))
        x, y = (left + right) / 2, (top + bottom) / 2
        corners = [(left - x, top - y), (right - x, top - y), (right - x, bottom - y), (left - x, bottom - y)]
        turned = [(x + cosine * a - sine * b, y + sine * a + cosine * b) for a, b in corners]
        return polygon_mask([value for corner in turned for value in corner], size, where)
    if shape.tag == 'ellipse':
        rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
        across, down = columns - number('cx'), rows - number('cy')
        first, second = cosine * across + sine * down, cosine * down - sine * across
        widths = max(number('rx'), 1e-6), max(number('ry'), 1e-6)
        return encode((first / widths[0]) ** 2 + (second / widths[1]) ** 2 <= 1)
    if shape.tag == 'mask':
        width, height = integer_of(shape, 'width', where), integer_of(shape, 'height', where)
        place = integer_of(shape, 'top', where), integer_of(shape, 'left', where)
        check_place((height, width), *place, size, where)
        try:
            runs = [int(x) for x in (shape.get('rle') or '').split(',')]
        except ValueError:
            runs = []
        if not runs or min(runs) < 0 or sum(runs) != width * height:
            raise DataError(f'{where}: the runs of a mask must add up to its {width} x {height} pixels')
        values = np.arange(len(runs)) % 2 == 1  # the first run is background, row by row
        crop = np.repeat(values, runs).reshape(height, width)
        return encode(placed(crop, *place, size, where))
    raise DataError(f'{where}: shapes of the type {shape.tag} have no area; use masks, polygons, boxes or ellipses')


def read_mots(root: Path) -> list[LabelledVideo]:
    """Videos in the text format of MOTS: folders with images and ``gt.txt``, or ``img1`` and ``gt/gt.txt``.

    A line has the frame (the number of its image), the id of the object, its class, height and width, and the mask as
    run lengths. Regions of class 10 are ignored.

    Args:
        root: Folder of a video, or of several.

    Raises:
        DataError: A file is missing or malformed, with its line and what is wrong.
    """
    return [mots_video(folder, path) for folder, path in video_folders(root, 'gt.txt', 'gt/gt.txt')]


def mots_video(folder: Path, file: Path) -> LabelledVideo:
    """A video of MOTS; see :func:`read_mots`."""
    images = images_in(folder / 'img1' if (folder / 'img1').is_dir() else folder)
    size, masks = frame_size(images), Masks()
    by_number = {int(image.stem): t for t, image in enumerate(images) if image.stem.isdecimal()}
    for number, line in enumerate(file.read_text(errors='replace').splitlines(), 1):
        words, where = line.split(), f'{file}, line {number}'
        if not words:
            continue
        try:
            time, identity, category, height, width = (int(word) for word in words[:5])
            code = dict(size=[height, width], counts=words[5])
        except (ValueError, IndexError):
            raise DataError(f'{where}: expected "frame id class height width mask", got {line[:60]!r}') from None
        frame = by_number.get(time, time - 1 if not by_number else None)
        if frame is None or not 0 <= frame < len(images):
            raise DataError(f'{where}: there is no image of frame {time}')
        if (height, width) != size:
            raise DataError(f'{where}: the mask is {(height, width)} (height, width), but the frames are {size}')
        if category == IGNORED:
            continue
        mask = compress(code, size, where)
        add(masks, (MOTS_CLASSES.get(category, f'class {category}'), identity), frame, mask)
    return LabelledVideo(folder.name, tuple(images), size, objects_of(masks))


def read_masks(root: Path) -> list[LabelledVideo]:
    """Videos with mask images: ``images/<video>`` and ``masks/<video>``, or ``JPEGImages`` and ``Annotations`` (DAVIS).

    A mask is a PNG with the number of the object of each pixel (palette or grey): 0 is background, 255 is void. All
    objects have the class ``object``; an object has the same number in all frames. Frames without a mask are left out.

    Args:
        root: Folder with these two folders, which may have one more level, such as ``480p``.

    Raises:
        DataError: A folder or image is missing or malformed.
    """
    root = root.resolve()
    pairs = [('images', 'masks'), ('JPEGImages', 'Annotations')]
    found = next(((root / a, root / b) for a, b in pairs if (root / a).is_dir() and (root / b).is_dir()), None)
    if found is None:
        raise DataError(f'{root} must have the folders images and masks, or JPEGImages and Annotations')
    image_root, mask_root = (only_level(folder) for folder in found)
    videos = [folder for folder in sorted(mask_root.iterdir(), key=natural_key) if folder.is_dir()]
    if not videos:
        raise DataError(f'{mask_root} has no folder of a video')
    return [mask_video(folder, image_root / folder.name) for folder in videos]


def only_level(folder: Path) -> Path:
    """The folder itself, or the only folder in it if this has folders, too (``480p`` of DAVIS)."""
    inner = [path for path in folder.iterdir() if path.is_dir()]
    has_videos = len(inner) == 1 and any(path.is_dir() for path in inner[0].iterdir())
    return inner[0] if has_videos else folder


def mask_video(masks_folder: Path, images_folder: Path) -> LabelledVideo:
    """A video with mask images; see :func:`read_masks`."""
    if not images_folder.is_dir():
        raise DataError(f'{masks_folder} has no images: there is no folder {images_folder}')
    by_stem = {image.stem: image for image in images_in(images_folder)}
    files = sorted(masks_folder.glob('*.png'), key=natural_key)
    missing = next((file for file in files if file.stem not in by_stem), None)
    if missing is not None or not files:
        raise DataError(
            f'{missing or masks_folder} has no image in {images_folder}' if files else f'{masks_folder} has no PNG'
        )
    images = [by_stem[file.stem] for file in files]
    size, masks = frame_size(images), Masks()
    for frame, file in enumerate(files):
        values = np.asarray(read_pixels(file))
        if values.ndim != 2 or values.shape != size:
            raise DataError(
                f'{file} is {values.shape}, but its image is {size} (height, width); masks must be palette or grey '
                'PNGs of the same size'
            )
        for value in np.unique(values).tolist():
            if value not in (0, VOID):
                add(masks, ('object', value), frame, encode(values == value))
    if not masks:
        raise DataError(f'the masks in {masks_folder} have no object: 0 is background, and {VOID} is void')
    ordered = dict(sorted(masks.items(), key=lambda entry: entry[0][1]))
    return LabelledVideo(masks_folder.name, tuple(images), size, objects_of(ordered))


Reader = Callable[[Path], Sequence[LabelledVideo]]
READERS: dict[str, Reader] = dict(labelme=read_labelme, cvat=read_cvat, mots=read_mots, masks=read_masks)
