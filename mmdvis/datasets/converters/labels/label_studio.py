"""Reader of the JSON export of Label Studio, with images of frames as tasks."""

import json
import re
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdvis.datasets.annotation_json import Entry, read_bytes
from mmdvis.errors import DataError
from mmdvis.io import natural_key

from .videos import ImageFinder, LabelledVideo, Masks, Size, add, encode, frame_size, polygon_mask, videos_of

SHAPES = ('brushlabels', 'polygonlabels', 'rectanglelabels', 'ellipselabels')
IDENTITIES = ('number', 'textarea', 'choices')  # kinds of results that can number a region
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
    find, frames = ImageFinder(root), []
    for path in paths:
        try:
            tasks = json.loads(read_bytes(path))
        except (ValueError, RecursionError) as error:
            raise DataError(f'{path} is not JSON ({error}); export the project as "JSON" again') from None
        if not isinstance(tasks, list):
            raise DataError(f'{path} is not a list of tasks; export the project as "JSON", not as another format')
        frames += [task_frame(Entry(task, f'{path}, task {k}'), find) for k, task in enumerate(tasks)]
    return videos_of([frame for frame in frames if frame is not None])


def task_frame(task: Entry, find: ImageFinder) -> tuple[str, Any, Path, Masks] | None:
    """A labelled image; see :func:`videos_of`. None if the task has no annotation."""
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
    size, masks, identities = frame_size([path]), Masks(), dict[str, str]()
    regions = list(annotations[0].entries('result', 'result'))
    for region in regions:
        if region.value.get('type') in IDENTITIES and 'id' in region.value:
            identities[region.text('id')] = str(Entry(region.part('value'), region.where).value)
    for region in regions:
        if region.value.get('type') in SHAPES:
            stated = region.integer('original_height'), region.integer('original_width')
            if stated != size:
                raise DataError(f'{region.where} states {stated} (height, width), but {path} is {size}')
            value, kind = Entry(region.part('value'), region.where), region.text('type')
            labels = value.items(kind)
            if len(labels) != 1 or not isinstance(labels[0], str):
                raise DataError(f'{region.where}: a region must have one label, got {str(labels)[:60]}')
            add(masks, (labels[0], identities.get(region.text('id'))), 0, region_mask(kind, value, size))
    return path.parent.name, natural_key(path.name), path, masks


def image_of(data: Entry, find: ImageFinder) -> Path:
    """The image of a task, whose address is a field of its data."""
    addresses = [value for value in data.value.values() if isinstance(value, str) and '.' in value]
    if not addresses:
        raise DataError(f'{data.where} has no address of an image')
    parts = urllib.parse.urlsplit(addresses[0])
    local = urllib.parse.parse_qs(parts.query).get('d')  # /data/local-files/?d=folder/image.jpg
    name = local[0] if local else urllib.parse.unquote(parts.path)
    last = name.rsplit('/', 1)[-1]
    if last not in find.by_name and UPLOAD.match(last):
        name = name[: len(name) - len(last)] + UPLOAD.sub('', last)
    return find(name, data.where)


def region_mask(kind: str, value: Entry, size: Size) -> dict[str, Any]:
    """Mask of a region; positions are in percent of the image."""
    height, width = size
    if kind == 'brushlabels':
        return encode(decode_brush(value.items('rle'), size, value.where))
    if kind == 'polygonlabels':
        try:
            points = np.array(value.items('points'), np.float64).reshape(-1, 2)
        except (TypeError, ValueError):
            raise DataError(f'{value.where}: points must be pairs of numbers') from None
        return polygon_mask((points * (width / 100, height / 100)).ravel().tolist(), size, value.where)
    names = ('x', 'y', 'width', 'height') if kind == 'rectanglelabels' else ('x', 'y', 'radiusX', 'radiusY')
    numbers = [value.part(name) for name in names]
    if not all(isinstance(x, (int, float)) and abs(x) < 1e6 for x in numbers):
        raise DataError(f'{value.where}: {", ".join(names)} must be numbers, got {numbers}')
    x, y, across, down = numbers[0] * width / 100, numbers[1] * height / 100, numbers[2] * width, numbers[3] * height
    across, down = across / 100, down / 100
    turn = np.radians(float(value.value.get('rotation') or 0))
    if kind == 'rectanglelabels':  # turned around its first corner
        corners = [(0.0, 0.0), (across, 0.0), (across, down), (0.0, down)]
        turned = [
            (x + np.cos(turn) * a - np.sin(turn) * b, y + np.sin(turn) * a + np.cos(turn) * b) for a, b in corners
        ]
        return polygon_mask([float(v) for corner in turned for v in corner], size, value.where)
    rows, columns = np.mgrid[:height, :width] + 0.5
    first = np.cos(turn) * (columns - x) + np.sin(turn) * (rows - y)
    second = np.cos(turn) * (rows - y) - np.sin(turn) * (columns - x)
    return encode((first / max(across, 1e-6)) ** 2 + (second / max(down, 1e-6)) ** 2 <= 1)


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
