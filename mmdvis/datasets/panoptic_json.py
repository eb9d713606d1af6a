"""Base class of the datasets with panoptic PNGs and a JSON file, and the records of such JSON files."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmdvis.errors import DataError

from .annotation_index import AnnotationIndex, Records, record_or_error
from .annotation_json import Entry, has_annotations, parse_json, read_bytes
from .base import ClipDataset, check_order, check_unique
from .classes import categories_of, class_rows
from .transforms.ground_truth import NUM_PNG_COLOURS

Segments = tuple[list[tuple[int, int]], list[int]]


def parse_segments(frame: Entry, categories: Sequence[int]) -> Segments:
    """Read ``segments_info`` of a frame.

    Args:
        frame: Annotation of the frame.
        categories: Known category ids.

    Returns:
        (id, category id) of each segment that is not a crowd, and the ids of the crowds.

    Raises:
        DataError: An id is out of range or occurs more than once, or a category is unknown.
    """
    objects, crowds, visited_ids = [], [], set()
    for segment in frame.entries('segments_info', 'segment', 'id'):
        number, category = segment.integer('id'), segment.integer('category_id')
        if not 0 < number < NUM_PNG_COLOURS:
            raise DataError(
                f'{segment.where}: a segment id must lie between 1 and {NUM_PNG_COLOURS - 1}, the RGB range'
            )
        if number in visited_ids:
            raise DataError(f'{segment.where}: the id {number} occurs more than once; ids must be unique in a frame')
        if category not in categories:
            raise DataError(f'{segment.where}: the category {category} is not in the list of categories')
        visited_ids.add(number)
        if segment.flag('iscrowd'):
            crowds.append(number)
        else:
            objects.append((number, category))
    return objects, crowds


def video_size(images: Sequence[Entry], where: str) -> tuple[int, int] | None:
    """(height, width) of the frames of a video, None if unknown.

    Args:
        images: Image entries of the video.
        where: Location, for error messages.

    Raises:
        DataError: The frames have different sizes.
    """
    if any('height' not in image.value or 'width' not in image.value for image in images):
        return None
    sizes = [image.size() for image in images]
    for image, size in zip(images, sizes):
        if size != sizes[0]:
            raise DataError(
                f'{image.where} is {size} (height, width), but the first frame is {sizes[0]}; all frames of a video '
                'must have the same size'
            )
    return sizes[0]


def pair_annotations(images: Sequence[Entry], annotations: Sequence[Entry], where: str) -> list[Entry]:
    """Match annotations to images by ``image_id``.

    Args:
        images: Image entries of the video.
        annotations: Annotation entries of the video.
        where: Location, for error messages.

    Returns:
        Annotation of each image, in the order of ``images``.

    Raises:
        DataError: An image does not have exactly one annotation, or an annotation has no image.
    """
    if len(images) != len(annotations):
        raise DataError(
            f'{where} has {len(images)} images and {len(annotations)} annotations; one annotation per image is required'
        )
    names = [image.text('id') for image in images]
    annotation_by_name = dict(
        zip(check_unique((a.text('image_id') for a in annotations), 'image_id', where), annotations)
    )
    for name, frame in annotation_by_name.items():
        if name not in names:
            raise DataError(f'{frame.where}: the video has no image {name}')
    return [annotation_by_name[name] for name in names]


def panoptic_record(
    name: str,
    images: Sequence[Entry],
    annotations: Sequence[Entry] | None,
    where: str,
    categories: Sequence[int],
    files: Callable[[Entry], tuple[str, str]],
) -> dict:
    """Build the record of a video with panoptic PNGs.

    Args:
        name: Name of the video.
        images: Image entries of its frames.
        annotations: Annotation entries of its frames. None if the split has no annotations.
        where: Location, for error messages.
        categories: Known category ids.
        files: Function that returns the paths of image and mask of an image entry, relative to their folders.

    Raises:
        DataError: An entry is malformed, or images and annotations do not match.
    """
    check_order([image.text('file_name') for image in images], where)
    gt_annotations = pair_annotations(images, annotations, where) if annotations is not None else [None] * len(images)
    frames, category_of_id, warnings = [], {}, []
    for image, annotation in zip(images, gt_annotations):
        path, mask = files(image)
        frame: dict[str, Any] = dict(name=image.text('file_name'), image=path)
        if annotation is not None:
            objects, crowds = parse_segments(annotation, categories)
            frame.update(mask=mask, segments=objects, crowds=crowds)
            for number, category in objects:
                if category_of_id.setdefault(number, category) != category:
                    warnings.append(
                        f'{annotation.where}: the id {number} has category {category}, but {category_of_id[number]} in '
                        'an earlier frame; in a clip, the category of the first occurrence is used'
                    )
        frames.append(frame)
    return dict(
        notes=warnings,
        video_id=name,
        size=video_size(images, where),
        categories=sorted(set(category_of_id.values())),
        frames=frames,
    )


def panoptic_images(path: Path, image_path: Callable[[Entry], str]) -> Records:
    """Read the records of a JSON file in the panoptic format of COCO; each image is a video of one frame.

    Args:
        path: JSON file.
        image_path: Function that returns the path of an image entry, relative to the folder of the images.
    """
    content = parse_json(read_bytes(path), path)
    classes, labelled = categories_of(content), has_annotations(content)

    def records() -> Iterator[dict]:
        images = list(content.entries('images', 'image', 'id'))
        entries = list(content.entries('annotations', 'annotation', 'image_id')) if labelled else []
        gt_entries = dict(
            zip(check_unique((e.text('image_id') for e in entries), 'annotation of the image', path), entries)
        )
        for name, image in zip(check_unique((image.text('id') for image in images), 'image', path), images):
            annotations = [gt_entries[name]] if name in gt_entries else []
            mask = gt_entries[name].text('file_name') if name in gt_entries else ''
            yield record_or_error(
                panoptic_record,
                name,
                [image],
                annotations if labelled else None,
                f'{path}: image {name}',
                classes.category_ids,
                lambda entry, mask=mask: (image_path(entry), mask),
            )

    return dict(classes=class_rows(classes), labelled=labelled), records()


def vipseg_records(content: Entry, path: Path) -> Records:
    """Read the records of a JSON file in the layout of VIPSeg.

    Args:
        content: Content of the JSON file.
        path: Path of the JSON file, for error messages.
    """
    classes, labelled = categories_of(content), has_annotations(content)

    def records() -> Iterator[dict]:
        videos = list(content.entries('videos', 'video', 'video_id'))
        names = list(check_unique((video.text('video_id') for video in videos), 'video', path))
        gt_entries: dict[str, Entry] = {}
        if labelled:
            entries = list(content.entries('annotations', 'annotations of video', 'video_id'))
            gt_entries = dict(
                zip(check_unique((e.text('video_id') for e in entries), 'annotations of the video', path), entries)
            )
        for unknown_name in gt_entries.keys() - set(names):
            raise DataError(f"{path}: the video {unknown_name} has annotations, but is missing from 'videos'")
        for name, video in zip(names, videos):
            yield record_or_error(vipseg_record, name, video, gt_entries.get(name), labelled, classes.category_ids)

    return dict(classes=class_rows(classes), labelled=labelled), records()


def vipseg_record(name: str, video: Entry, truth: Entry | None, labelled: bool, categories: Sequence[int]) -> dict:
    """Build the record of a video in the layout of VIPSeg.

    Args:
        name: Name of the video.
        video: Entry in ``videos``.
        truth: Entry in ``annotations``, None if the video has none.
        labelled: Whether the file has annotations.
        categories: Known category ids.
    """
    annotations = list(truth.entries('annotations', 'frame', 'file_name')) if truth is not None else []
    return panoptic_record(
        name,
        list(video.entries('images', 'frame', 'file_name')),
        annotations if labelled else None,
        video.where,
        categories,
        lambda image: frame_files(name, image),
    )


def frame_files(folder: str, image: Entry) -> tuple[str, str]:
    """Relative paths of image and mask of a frame: ``<folder>/<stem>.jpg`` and ``<folder>/<stem>.png``."""
    stem = Path(image.text('file_name')).stem
    return f'{folder}/{stem}.jpg', f'{folder}/{stem}.png'


class PanopticVideoDataset(ClipDataset):
    """Base class of the datasets with panoptic PNGs and a JSON file.

    A subclass defines :meth:`reader`, which reads the JSON file.

    Raises:
        DataError: The JSON file is malformed, or has no annotations in training mode.
    """

    def read_index(self) -> AnnotationIndex:
        """Read the records of ``ann_file``."""
        index = self.open_records()
        if not index.meta['labelled'] and not self.test_mode:
            raise DataError(
                f'{self.ann_file} holds no annotations, like the files of test splits; use it with test_mode=True, not '
                'for training'
            )
        return index
