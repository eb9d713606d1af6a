"""Reader of "CVAT for video 1.1"."""

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmdvis.errors import DataError

from .videos import (
    MAX_PIXELS,
    Fronts,
    LabelledObject,
    LabelledVideo,
    Masks,
    add,
    box_mask,
    check_place,
    ellipse_mask,
    encode,
    frame_size,
    images_in,
    objects_of,
    placed,
    polygon_mask,
    video_folders,
)


def read_cvat(root: Path) -> list[LabelledVideo]:
    """Videos exported as "CVAT for video 1.1": a folder for each with ``annotations.xml`` and ``images``.

    A track is one object. Where it is ``outside``, it has no mask. Polygons, boxes, ellipses and masks are read. CVAT
    has no tracks of masks: it writes each mask, and each shape that was drawn in shape mode, as a track of its own.
    Those of one label and ``group_id`` are one object, and so are all masks of a label without a group. Shapes with a
    higher ``z_order`` are in front. An export "CVAT for images" is read, too, if its shapes have a ``group_id``, which
    is the identity.

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
        return LabelledVideo(folder.name, tuple(images), size, image_objects(tree, images, size, path))
    positions, fronts = frame_positions(images, tree, path), Fronts()
    for track in tree.findall('track'):
        where, label = f'{path}, track {track.get("id")}', track.get('label')
        if not label:
            raise DataError(f'{where} has no label')
        shapes = [shape for shape in track if shape.get('outside') != '1']
        is_single = len(shapes) == 1 and (shapes[0].tag == 'mask' or track.get('group_id'))
        for shape in shapes:
            frame = integer_of(shape, 'frame', where)
            if frame not in positions:
                raise DataError(f'{where}: there is no image of frame {frame}; the video has {len(images)} images')
            group = track.get('group_id') if track.get('group_id') != '0' else None
            identity = track.get('id') if not is_single and shape.tag != 'mask' else ('group', group) if group else None
            add(masks, (label, identity), positions[frame], cvat_mask(shape, size, f'{where}, frame {frame}'))
            raise_front(fronts, (label, identity), shape, where)
    return LabelledVideo(folder.name, tuple(images), size, objects_of(masks, fronts))


def image_objects(
    tree: ElementTree.Element, images: Sequence[Path], size: tuple[int, int], path: Path
) -> tuple[LabelledObject, ...]:
    """Objects of "CVAT for images": the shapes of one label and ``group_id``.

    Raises:
        DataError: No shape has a ``group_id``, or the file is malformed.
    """
    masks, stems, fronts = Masks(), {image.stem: t for t, image in enumerate(images)}, Fronts()
    if not any(shape.get('group_id') for shape in tree.findall('image/*')):
        raise DataError(
            f'{path} is an export "CVAT for images" without groups, so it is unknown which shapes are the same object; '
            'export "CVAT for video 1.1"'
        )
    for element in tree.findall('image'):
        name = str(element.get('name'))
        if PurePosixPath(name).stem not in stems:
            raise DataError(f'{path}: there is no image {name} in {images[0].parent}')
        frame = stems[PurePosixPath(name).stem]
        for shape in (shape for shape in element if shape.tag not in ('tag', 'skeleton')):
            where = f'{path}, image {name}'
            if not shape.get('label'):
                raise DataError(f'{where}: a shape has no label')
            key = (str(shape.get('label')), shape.get('group_id'))
            add(masks, key, frame, cvat_mask(shape, size, where))
            raise_front(fronts, key, shape, where)
    return objects_of(masks, fronts)


def raise_front(fronts: Fronts, key: tuple[str, Any], shape: ElementTree.Element, where: str) -> None:
    """Notes the ``z_order`` of a shape, of which an object has the highest."""
    front = integer_of(shape, 'z_order', where) if shape.get('z_order') else 0
    fronts[key] = max(front, fronts.get(key, front))


def frame_positions(images: Sequence[Path], tree: ElementTree.Element, path: Path) -> dict[int, int]:
    """Maps the frame numbers of CVAT to positions in ``images``.

    Names such as ``frame_000012`` contain the number; otherwise the images are numbered in the order of their names,
    from the first frame and with the step that the file states.

    Raises:
        DataError: The file states another number of frames.
    """
    numbers = [re.fullmatch(r'frame_(\d+)', image.stem) for image in images]
    if all(numbers):
        return {int(match[1]): k for k, match in enumerate(numbers) if match}
    texts = {name: tree.findtext(f'meta/*/{name}') or '' for name in ('start_frame', 'size', 'frame_filter')}
    start = int(texts['start_frame']) if texts['start_frame'].isdecimal() else 0
    step = re.fullmatch(r'step\s*=\s*(\d+)', texts['frame_filter'].strip())
    if texts['size'].isdecimal() and int(texts['size']) not in (0, len(images)):
        raise DataError(
            f'{path} states {texts["size"]} frames, but there are {len(images)} images, so frames are unknown; '
            'export the task with its images'
        )
    ordered = sorted(range(len(images)), key=lambda k: images[k].name)  # as CVAT numbers them
    return {start + (int(step[1]) if step else 1) * number: k for number, k in enumerate(ordered)}


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
        if not abs(value) < MAX_PIXELS:
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
    if shape.tag == 'box':
        left, top, right, bottom = (number(name) for name in ('xtl', 'ytl', 'xbr', 'ybr'))
        return box_mask([left, top, right - left, bottom - top], size, where, number('rotation', '0'))
    if shape.tag == 'ellipse':
        centre, radii = (number('cx'), number('cy')), (number('rx'), number('ry'))
        return ellipse_mask(centre, radii, number('rotation', '0'), size)
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
