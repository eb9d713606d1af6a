"""Reader of the JSON format of datumaro."""

from pathlib import Path, PurePosixPath
from typing import Any

from mmdvis.datasets.annotation_json import Entry
from mmdvis.datasets.base import check_unique
from mmdvis.errors import DataError
from mmdvis.io import natural_key

from .videos import (
    ImageFinder,
    LabelledImage,
    LabelledVideo,
    Masks,
    add,
    any_mask,
    attributes_of,
    box_mask,
    frame_size,
    json_files,
    rotation_of,
    videos_of,
)

WITHOUT_AREA = ('label', 'caption')  # annotations of whole images


def read_datumaro(root: Path) -> list[LabelledVideo]:
    """Videos exported as "Datumaro": ``annotations/<subset>.json`` and ``images``.

    An object is the annotations with the same attribute ``track_id``, or with the same ``group`` other than 0; those of
    a class with neither are one region. Polygons, masks and boxes are read. The video of an item is the folder in its
    id, or else the subset.

    Args:
        root: Folder with ``annotations`` and ``images``.

    Raises:
        DataError: A file is missing or malformed.
    """
    root = root.resolve()
    find, frames = ImageFinder(root), list[LabelledImage]()
    for content in json_files(root, ('items', 'categories')):
        labels = Entry(Entry(content.part('categories'), content.where).part('label'), content.where)
        names = [label.text('name') for label in labels.entries('labels', 'label')]
        subset = Path(content.where).stem
        items = list(content.entries('items', 'item', 'id'))
        list(check_unique((item.text('id') for item in items), 'item id', content.where))
        frames += [datumaro_frame(item, names, root.name if subset == 'default' else subset, find) for item in items]
    return videos_of(frames)


def datumaro_frame(item: Entry, names: list[str], subset: str, find: ImageFinder) -> LabelledImage:
    """A labelled image."""
    image, identifier = Entry(item.part('image'), f'{item.where}, image'), item.text('id')
    path = find(image.text('path'), item.where)
    size, masks = frame_size([path]), Masks()
    annotations = [a for a in item.entries('annotations', 'annotation') if a.value.get('type') not in WITHOUT_AREA]
    for annotation in sorted(annotations, key=lambda a: a.integer('z_order') if 'z_order' in a.value else 0):
        label = annotation.integer('label_id')
        if not 0 <= label < len(names):
            raise DataError(f'{annotation.where}: label_id must be below {len(names)}, got {label}')
        add(masks, (names[label], identity_of(annotation)), 0, datumaro_mask(annotation, size))
    attributes = item.value.get('attr')
    number = attributes.get('frame') if isinstance(attributes, dict) else None
    position = number if isinstance(number, int) else None
    video = PurePosixPath(identifier).parts[:-1] or (subset,)
    return LabelledImage(video, (position is None, position or 0, natural_key(identifier)), path, masks)


def identity_of(annotation: Entry) -> str | None:
    """Identity of an annotation, None if it has none."""
    track = attributes_of(annotation).get('track_id')
    return str(track) if track is not None else str(annotation.value.get('group') or '') or None


def datumaro_mask(annotation: Entry, size: tuple[int, int]) -> dict[str, Any]:
    """Mask of an annotation."""
    kind = annotation.text('type')
    if kind == 'mask':
        return any_mask(annotation.part('rle'), size, annotation.where)
    if kind == 'polygon':
        return any_mask([annotation.items('points')], size, annotation.where)
    if kind == 'bbox':
        return box_mask(annotation.items('bbox'), size, annotation.where, rotation_of(annotation))
    raise DataError(f'{annotation.where}: annotations of the type {kind} have no area; use masks, polygons or boxes')
