"""Reader of the JSON export of Label Studio, with images of frames as tasks."""

import json
import logging
import re
import urllib.parse
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmdvis.datasets.annotation_json import Entry, read_bytes
from mmdvis.errors import DataError
from mmdvis.io import IMAGE_SUFFIXES, natural_key

from .videos import (
    ImageFinder,
    LabelledImage,
    LabelledVideo,
    Masks,
    Size,
    add,
    ellipse_mask,
    encode,
    frame_size,
    is_pixels,
    numbers_of,
    polygon_mask,
    turned,
    videos_of,
)

SHAPES = ('brush', 'polygon', 'rectangle', 'ellipse')  # with "labels" at the end, if the control has labels of its own
IDENTITIES = ('number', 'textarea', 'choices')  # kinds of results that can number a region; earlier ones are preferred
WITHOUT_AREA = (*IDENTITIES, 'labels', 'rating', 'taxonomy', 'datetime', 'relation', 'pairwise', 'ranker')
LOGGER = logging.getLogger('mmdvis')
UPLOAD = re.compile(r'^[0-9a-f]{8}-')  # what Label Studio puts in front of the names of uploaded files


def read_label_studio(root: Path) -> list[LabelledVideo]:
    """Videos labelled with Label Studio: a JSON export, whose tasks are the images of frames, and the images.

    Brushes, polygons, rectangles and ellipses are read. An object is the regions of one label that have the same
    number, text or choice (a control with ``perRegion="true"``); regions of a label without it are one region. The
    video of an image is the folder that it is in.

    Args:
        root: Folder with the JSON files and the images anywhere below it.

    Raises:
        DataError: A file is missing or malformed.
    """
    root = root.resolve()
    paths = sorted(root.glob('*.json')) if root.is_dir() else []
    if not paths:
        raise DataError(f'there is no folder {root}' if not root.is_dir() else f'{root} has no json')
    find, frames, unlabelled = ImageFinder(root), list[LabelledImage](), 0
    for path in paths:
        try:
            tasks = json.loads(read_bytes(path))
        except (ValueError, RecursionError) as error:
            raise DataError(f'{path} is not JSON ({error}); export the project as "JSON" again') from None
        if not isinstance(tasks, list):
            raise DataError(f'{path} is not a list of tasks; export the project as "JSON", not as another format')
        found = [task_frame(Entry(task, f'{path}, task {k}'), find) for k, task in enumerate(tasks)]
        frames += [frame for frame in found if frame is not None]
        unlabelled += found.count(None)
    if unlabelled:
        LOGGER.warning('%d tasks without annotation are left out', unlabelled)
    return videos_of(frames)


def task_frame(task: Entry, find: ImageFinder) -> LabelledImage | None:
    """A labelled image; None if the task has no annotation."""
    annotations = [
        annotation
        for annotation in task.entries('annotations', 'annotation')
        if not annotation.value.get('was_cancelled')
    ]
    if not annotations:
        return None
    if len(annotations) > 1:
        raise DataError(f'{task.where} has {len(annotations)} annotations; keep one for each task')
    path = image_of(Entry(task.part('data'), f'{task.where}, data'), find)
    size, masks = frame_size([path]), Masks()
    regions = list(annotations[0].entries('result', 'result'))
    identities, labels = region_identities(regions), region_labels(regions)
    for region in regions:
        kind = str(region.value.get('type'))
        shape = kind.removesuffix('labels')
        if kind in WITHOUT_AREA:
            continue
        if shape not in SHAPES:
            raise DataError(f'{region.where}: regions of the type {kind} are not read; use {", ".join(SHAPES)}')
        check_region(region, size, path)
        label = labels.get(region.text('id'))
        if label is None:
            raise DataError(f'{region.where}: a region must have one label')
        value = Entry(region.part('value'), region.where)
        add(masks, (label, identities.get(region.text('id'))), 0, region_mask(shape, value, size))
    return LabelledImage(find.folders(path) or (path.parent.name,), (natural_key(path.name),), path, masks)


def check_region(region: Entry, size: Size, path: Path) -> None:
    """Raises DataError if a region belongs to an image of another size, or to a turned one."""
    stated = region.integer('original_height'), region.integer('original_width')
    if stated != size:
        raise DataError(f'{region.where} states {stated} (height, width), but {path} is {size}')
    if region.value.get('image_rotation'):
        raise DataError(
            f'{region.where}: the image was turned while it was labelled; turn the file, and label it again'
        )


def region_identities(regions: Sequence[Entry]) -> dict[str, str]:
    """Id of a region -> what numbers it: a number, a text or a choice; its position is not part of it.

    Raises:
        DataError: A region has several controls of the preferred kind.
    """
    result: dict[str, str] = {}
    for kind in reversed(IDENTITIES):
        found: dict[str, str] = {}
        for region in regions:
            if region.value.get('type') != kind or 'id' not in region.value:
                continue
            content = Entry(region.part('value'), region.where).value
            value = content.get(dict(number='number', textarea='text', choices='choices')[kind])
            value = value[0] if isinstance(value, list) and len(value) == 1 else value
            if not isinstance(value, (str, int, float)):
                raise DataError(f'{region.where}: a region must have one {kind}, got {str(value)[:60]}')
            if region.text('id') in found:
                raise DataError(f'{region.where}: a region has two controls of the kind {kind}; keep one, its identity')
            found[region.text('id')] = str(value) if isinstance(value, str) else f'{value:g}'
        result.update(found)
    return result


def region_labels(regions: Sequence[Entry]) -> dict[str, str]:
    """Id of a region -> its label, which is part of it or a result of the kind ``labels`` with the same id."""
    result: dict[str, str] = {}
    for region in regions:
        kind = str(region.value.get('type'))
        value = region.value.get('value')
        labels = value.get(kind) if isinstance(value, dict) and kind.endswith('labels') else None
        if isinstance(labels, list) and len(labels) == 1 and isinstance(labels[0], str) and labels[0]:
            result[region.text('id')] = labels[0]
    return result


def image_of(data: Entry, find: ImageFinder) -> Path:
    """The image of a task, whose address is a field of its data."""
    for value in data.value.values():
        try:
            parts = urllib.parse.urlsplit(value if isinstance(value, str) else '')
        except ValueError:
            continue
        local = urllib.parse.parse_qs(parts.query).get('d')  # /data/local-files/?d=folder/image.jpg
        name = local[0] if local else urllib.parse.unquote(parts.path)
        if PurePosixPath(name).suffix.lower() not in IMAGE_SUFFIXES:
            continue
        folder, _, last = name.rpartition('/')
        if not local:  # an upload, without the folder of the project, or an address of a server
            return find(UPLOAD.sub('', last) if folder.startswith('/data/upload') else last, data.where)
        return find(name, data.where)
    raise DataError(f'{data.where} has no address of an image')


def region_mask(kind: str, value: Entry, size: Size) -> dict[str, Any]:
    """Mask of a region; positions are in percent of the image."""
    height, width = size
    if kind == 'brush':
        return encode(decode_brush(value.items('rle'), size, value.where))
    if kind == 'polygon':
        points = numbers_of(value.items('points'), value.where)
        return polygon_mask((points * (width / 100, height / 100)).ravel().tolist(), size, value.where)
    names = ('x', 'y', 'width', 'height') if kind == 'rectangle' else ('x', 'y', 'radiusX', 'radiusY')
    numbers, turn = [value.part(name) for name in names], value.value.get('rotation') or 0
    if not all(map(is_pixels, [*numbers, turn])):
        raise DataError(f'{value.where}: {", ".join(names)} and rotation must be numbers, got {str(numbers)[:60]}')
    x, y, across, down = (number * side / 100 for number, side in zip(numbers, (width, height, width, height)))
    if kind == 'rectangle':  # turned around its first corner
        corners = [(x, y), (x + across, y), (x + across, y + down), (x, y + down)]
        return polygon_mask(turned(corners, (x, y), turn), size, value.where)
    return ellipse_mask((x, y), (across, down), turn, size)


def decode_brush(rle: Sequence[Any], size: Size, where: str) -> np.ndarray:
    """Mask (H, W) of a brush.

    The bytes are a stream of bits: 32 bits with the number of values; 5 bits with the length of a value, less one; four
    times 4 bits with the lengths of counts, less one; then groups: a bit that tells whether one value is repeated,
    2 bits that select the length of the count, the count less one, and one value or as many values as counted. The
    values are R, G, B and A of each pixel; A is the mask.

    Args:
        rle: Bytes.
        size: (height, width) of the image.
        where: Location, for error messages.

    Raises:
        DataError: The stream is damaged, or belongs to an image of another size.
    """
    try:
        bits = np.unpackbits(np.array(rle, np.uint8))
    except (TypeError, ValueError, OverflowError):
        raise DataError(f'{where}: rle must be a list of bytes') from None
    place = 0

    def number(length: int) -> int:
        nonlocal place
        if place + length > len(bits):
            raise DataError(f'{where}: the rle of a brush ends too early; export the project again')
        place += length
        return int(''.join(map(str, bits[place - length : place])), 2)

    total = 4 * size[0] * size[1]
    if number(32) != total:
        raise DataError(f'{where}: the rle of a brush must have {total} values, those of {size[0]} x {size[1]} pixels')
    word = number(5) + 1
    lengths = [number(4) + 1 for _ in range(4)]
    values, filled = np.zeros(total, np.int64), 0
    while filled < total:
        is_repeated = number(1)
        count = min(number(lengths[number(2)]) + 1, total - filled)
        if is_repeated:
            values[filled : filled + count] = number(word)
        else:
            needed = count * word
            if place + needed > len(bits):
                raise DataError(f'{where}: the rle of a brush ends too early; export the project again')
            group = bits[place : place + needed].reshape(count, word).astype(np.int64)
            values[filled : filled + count] = group @ (1 << np.arange(word - 1, -1, -1))
            place += needed
        filled += count
    return values.reshape(*size, 4)[..., 3] > 0
