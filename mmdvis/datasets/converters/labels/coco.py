"""Readers of COCO: images with ``track_id``, and videos in the format of YouTube-VIS."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mmdvis.datasets.annotation_json import Entry
from mmdvis.datasets.base import check_unique
from mmdvis.errors import DataError
from mmdvis.io import natural_key

from .videos import (
    EXPORT_FOLDERS,
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
    objects_of,
    rotation_of,
    videos_of,
)

IDENTITIES = ('track_id', 'instance_id')
POSITIONS = ('frame_index', 'frame_id')


def read_coco(root: Path) -> list[LabelledVideo]:
    """Videos in a COCO JSON file of images, as CVAT, datumaro and others write it.

    An object is the annotations with the same ``track_id`` (or ``instance_id``), which may be one of the
    ``attributes``. Annotations of a class without it are one region. The video of an image is its ``video_id``, or the
    folder in its ``file_name``; its position is ``frame_index`` or ``frame_id``, or that of its name. Polygons,
    run lengths and, where there is no mask, boxes are read.

    Args:
        root: Folder with the JSON files, or with ``annotations``, and the images anywhere below it.

    Raises:
        DataError: A file is missing or malformed, or no annotation has an identity.
    """
    root = root.resolve()
    find, frames = ImageFinder(root), list[LabelledImage]()
    for content in json_files(root, ('images', 'annotations', 'categories')):
        frames += coco_frames(content, root.name, find)
    return videos_of(frames)


def coco_frames(content: Entry, root_name: str, find: ImageFinder) -> Iterator[LabelledImage]:
    """Labelled images of a file."""
    names, file = category_names(content), Path(content.where).stem
    videos = list(content.entries('videos', 'video', 'id')) if 'videos' in content.value else []
    list(check_unique((video.text('id') for video in videos), 'video id', content.where))
    video_names = {video.integer('id'): PurePosixPath(video.text('name')).parts for video in videos}
    owned: dict[int, list[Entry]] = {}
    for annotation in content.entries('annotations', 'annotation'):
        owned.setdefault(annotation.integer('image_id'), []).append(annotation)
    if owned and not any(identity_of(item) is not None for items in owned.values() for item in items):
        raise DataError(
            f'{content.where}: no annotation has a track_id, so it is unknown which are the same object; export tracks'
        )
    images = list(content.entries('images', 'image', 'id'))
    list(check_unique((image.text('id') for image in images), 'image id', content.where))
    for image in images:
        size, masks, name = image.size(), Masks(), image.text('file_name')
        path = find(name, image.where)
        check_stated(path, size, image.where)
        for annotation in owned.pop(image.integer('id'), ()):
            label = label_of(annotation, names)
            add(masks, (label, identity_of(annotation)), 0, coco_mask_of(annotation, size))
        if 'video_id' in image.value:
            number = image.integer('video_id')
            video = (file, *video_names.get(number, (str(number),)))
        else:
            video = tuple(p for p in PurePosixPath(name).parts[:-1] if p not in EXPORT_FOLDERS) or find.folders(path)
        position = next((image.integer(key) for key in POSITIONS if key in image.value), None)
        order = (position is None, position or 0, natural_key(name))
        yield LabelledImage(video or (root_name,), order, path, masks)
    if owned:
        raise DataError(f'{content.where}: annotations belong to the image {min(owned)}, which is missing from images')


def category_names(content: Entry) -> dict[int, str]:
    """Category id -> name; raises DataError if an id occurs twice."""
    numbers = (category.text('id') for category in content.entries('categories', 'category'))
    list(check_unique(numbers, 'category', content.where))
    return {category.integer('id'): category.text('name') for category in content.entries('categories', 'category')}


def label_of(annotation: Entry, names: dict[int, str]) -> str:
    """Name of the class of an annotation; raises DataError if it is unknown."""
    category = annotation.integer('category_id')
    if category not in names:
        raise DataError(f'{annotation.where}: the category {category} is not in the list of categories')
    return names[category]


def identity_of(annotation: Entry) -> str | None:
    """Identity of an annotation, None if it has none."""
    places = (annotation.value, attributes_of(annotation))
    values = [place[key] for place in places for key in IDENTITIES if place.get(key) is not None]
    return str(values[0]) if values else None


def coco_mask_of(annotation: Entry, size: tuple[int, int]) -> dict[str, Any]:
    """Mask of an annotation of an image, or its box."""
    mask = annotation.value.get('segmentation')
    if mask:
        return any_mask(mask, size, annotation.where)
    return box_mask(annotation.value.get('bbox'), size, annotation.where, rotation_of(annotation))


def check_stated(path: Path, size: tuple[int, int], where: str) -> None:
    """Raises DataError if an image does not have the size that a file states."""
    if frame_size([path]) != size:
        raise DataError(f'{where} states {size} (height, width), but {path} is {frame_size([path])}')


def read_coco_video(root: Path) -> list[LabelledVideo]:
    """Videos in a JSON file of YouTube-VIS: ``videos`` with ``file_names``, ``annotations`` with ``segmentations``.

    Args:
        root: Folder with the JSON files, or with ``annotations``, and the images anywhere below it.

    Raises:
        DataError: A file is missing or malformed.
    """
    root = root.resolve()
    find, videos = ImageFinder(root), []
    for content in json_files(root, ('videos', 'annotations', 'categories')):
        names, owned = category_names(content), dict[int, list[Entry]]()
        for track in content.entries('annotations', 'track'):
            if not track.flag('iscrowd'):
                owned.setdefault(track.integer('video_id'), []).append(track)
        entries = list(content.entries('videos', 'video', 'id'))
        list(check_unique((video.text('id') for video in entries), 'video id', content.where))
        videos += [coco_video(video, owned.pop(video.integer('id'), []), names, find) for video in entries]
        if owned:
            raise DataError(f'{content.where}: tracks belong to the video {min(owned)}, which is missing from videos')
    return videos


def coco_video(video: Entry, tracks: Sequence[Entry], names: dict[int, str], find: ImageFinder) -> LabelledVideo:
    """A video of a JSON file of YouTube-VIS; see :func:`read_coco_video`."""
    files, size, masks = video.items('file_names'), video.size(), Masks()
    if not files or not all(isinstance(file, str) for file in files):
        raise DataError(f"{video.where}: 'file_names' must be at least one name, got {str(files)[:60]}")
    images = [find(file, video.where) for file in files]
    check_stated(images[0], size, video.where)
    for number, track in enumerate(tracks):
        codes = track.items('segmentations')
        if len(codes) != len(files):
            raise DataError(f'{track.where} has {len(codes)} segmentations, but the video has {len(files)} frames')
        for t, code in enumerate(codes):
            if code:
                key = (label_of(track, names), number)
                add(masks, key, t, any_mask(code, size, f'{track.where}, frame {t}'))
    name = PurePosixPath(files[0]).parent.name or f'video{video.integer("id")}'
    return LabelledVideo(name, tuple(images), frame_size(images), objects_of(masks))
