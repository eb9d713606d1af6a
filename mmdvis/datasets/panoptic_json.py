"""Base of the datasets with panoptic PNGs and a json, and the records of such a json."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmdvis.errors import DataError

from .annotation_index import AnnotationIndex, Records, open_index, record_or_error
from .annotation_json import Entry, has_annotations
from .base import ClipDataset, check_order, check_unique
from .classes import categories_of, class_rows
from .transforms.ground_truth import NUM_PNG_COLOURS

Segments = tuple[list[tuple[int, int]], list[int]]


def parse_segments(frame: Entry, categories: Sequence[int]) -> Segments:
    """``segments_info`` of a frame: (id, category) of its objects, and the ids of crowds.

    Raises:
        DataError: an id is no colour of a PNG or there twice, or a category is unknown.
    """
    objects, crowds, seen = [], [], set()
    for segment in frame.entries('segments_info', 'segment', 'id'):
        number, category = segment.integer('id'), segment.integer('category_id')
        if not 0 < number < NUM_PNG_COLOURS:
            raise DataError(
                f'{segment.where}: a segment id must lie between 1 and {NUM_PNG_COLOURS - 1}, because a PNG holds it'
            )
        if number in seen:
            raise DataError(f'{segment.where}: the id {number} is there more than once; ids must be unique in a frame')
        if category not in categories:
            raise DataError(f'{segment.where}: the category {category} is not in the list of categories')
        seen.add(number)
        if segment.flag('iscrowd'):
            crowds.append(number)
        else:
            objects.append((number, category))
    return objects, crowds


def video_size(images: Sequence[Entry], where: str) -> tuple[int, int] | None:
    """(height, width) of the frames of a video, None where the json does not say.

    Raises:
        DataError: it says different ones.
    """
    if any('height' not in image.value or 'width' not in image.value for image in images):
        return None
    sizes = [(image.integer('height'), image.integer('width')) for image in images]
    for image, size in zip(images, sizes):
        if size != sizes[0]:
            raise DataError(
                f'{image.where} is {size} (height, width), the first frame {sizes[0]}; all frames of a video must '
                'have one size'
            )
    return sizes[0]


def pair_annotations(images: Sequence[Entry], annotations: Sequence[Entry], where: str) -> list[Entry]:
    """The annotation of each image, by ``image_id``.

    Raises:
        DataError: an image has none or two, or an annotation is of no image.
    """
    if len(images) != len(annotations):
        raise DataError(
            f'{where} has {len(images)} images and {len(annotations)} annotations; one annotation an image is needed'
        )
    names = [image.text('id') for image in images]
    found = dict(zip(check_unique((a.text('image_id') for a in annotations), 'image_id', where), annotations))
    for name, frame in found.items():
        if name not in names:
            raise DataError(f'{frame.where}: there is no image {name} in the video')
    return [found[name] for name in names]


def panoptic_record(
    name: str,
    images: Sequence[Entry],
    annotations: Sequence[Entry] | None,
    where: str,
    categories: Sequence[int],
    files: Callable[[Entry], tuple[str, str]],
) -> dict:
    """The record of a video with panoptic PNGs.

    Args:
        name: of the video.
        images, annotations: of its frames; None: the split has no annotations.
        where: for messages.
        categories: known ids.
        files: of an image entry, the paths of image and mask below their folders.
    """
    check_order([image.text('file_name') for image in images], where)
    truth = pair_annotations(images, annotations, where) if annotations is not None else [None] * len(images)
    frames, meaning, notes = [], {}, []
    for image, annotation in zip(images, truth):
        path, mask = files(image)
        frame: dict[str, Any] = dict(name=image.text('file_name'), image=path)
        if annotation is not None:
            objects, crowds = parse_segments(annotation, categories)
            frame.update(mask=mask, segments=objects, crowds=crowds)
            for number, category in objects:
                if meaning.setdefault(number, category) != category:
                    notes.append(
                        f'{annotation.where}: the id {number} has category {category}, in an earlier frame it has '
                        f'{meaning[number]}; in a clip, the first mention counts'
                    )
        frames.append(frame)
    return dict(
        notes=notes,
        video_id=name,
        size=video_size(images, where),
        categories=sorted(set(meaning.values())),
        frames=frames,
    )


def vipseg_records(content: Entry, path: Path) -> Records:
    """The records of a json in VIPSeg's layout that was read from ``path``."""
    classes, labelled = categories_of(content), has_annotations(content)

    def records() -> Iterator[dict]:
        videos = list(content.entries('videos', 'video', 'video_id'))
        names = list(check_unique((video.text('video_id') for video in videos), 'video', path))
        truth: dict[str, Entry] = {}
        if labelled:
            entries = list(content.entries('annotations', 'annotations of video', 'video_id'))
            truth = dict(
                zip(check_unique((e.text('video_id') for e in entries), 'annotations of the video', path), entries)
            )
        for stranger in truth.keys() - set(names):
            raise DataError(f"{path}: there are annotations of the video {stranger}, which 'videos' does not have")
        for name, video in zip(names, videos):
            yield record_or_error(vipseg_record, name, video, truth.get(name), labelled, classes.category_ids)

    return dict(classes=class_rows(classes), labelled=labelled), records()


def vipseg_record(name: str, video: Entry, truth: Entry | None, labelled: bool, categories: Sequence[int]) -> dict:
    """The record of an entry of ``videos`` and its entry in ``annotations``."""
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
    """Image and mask of a frame: both in a folder of the video's name, with the stem of ``file_name``."""
    stem = Path(image.text('file_name')).stem
    return f'{folder}/{stem}.jpg', f'{folder}/{stem}.png'


class PanopticVideoDataset(ClipDataset):
    """Base of the datasets with panoptic PNGs and a json; a subclass says how the json is read.

    Raises:
        DataError: the json is not as it should be, or has no annotations to train on.
    """

    def read_index(self) -> AnnotationIndex:
        """The records of ``ann_file``."""
        index = open_index(Path(self.ann_file), self.reader.__name__, self.reader, self.faults)
        if not index.meta['labelled'] and not self.test_mode:
            raise DataError(
                f'{self.ann_file} holds no annotations, as test splits do; it can be tested (test_mode=True) but not '
                'trained on'
            )
        return index

    @staticmethod
    def reader(path: Path) -> Records:
        """Reads the json."""
        raise NotImplementedError
