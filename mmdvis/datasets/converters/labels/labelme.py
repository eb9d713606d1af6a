"""Reader of the files of labelme."""

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmdvis.datasets.annotation_json import parse_json, read_bytes
from mmdvis.errors import DataError
from mmdvis.io import natural_key

from .videos import (
    LabelledVideo,
    Masks,
    add,
    ellipse_mask,
    encode,
    frame_size,
    images_in,
    numbers_of,
    objects_of,
    placed,
    polygon_mask,
    video_folders,
)


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
        return ellipse_mask((float(x), float(y)), (radius, radius), 0.0, size)
    (left, top), (right, bottom) = points.min(0), points.max(0)
    if kind == 'rectangle':
        return polygon_mask([left, top, right, top, right, bottom, left, bottom], size, where)
    try:
        crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape['mask'], validate=True)))) > 0
    except (KeyError, TypeError, ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f'{where}: its mask is not a base64-encoded PNG ({error})') from None
    return encode(placed(crop, round(top), round(left), size, where))
