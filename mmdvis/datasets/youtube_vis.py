"""YouTube-VIS 2019, 2021, 2022 and OVIS, with the tracks as run-length masks in one JSON file."""

from collections.abc import Callable, Iterator
from pathlib import Path

from mmdvis.errors import DataError
from mmdvis.io.rle import check_segmentation
from mmdvis.registry import DATASETS

from .annotation_index import AnnotationIndex, Records, record_or_error
from .annotation_json import Entry, has_annotations, parse_json, read_bytes
from .base import ClipDataset, check_order, check_unique
from .classes import categories_of, class_rows

VERSIONS = (2019, 2021, 2022)


def track_masks(track: Entry, size: tuple[int, int], names: list[str]) -> list[dict | None]:
    """Mask of a track in each frame, None if the mask or the box of the frame is missing.

    Args:
        track: Annotation entry of the track.
        size: (height, width) of the video.
        names: File names of the frames.

    Raises:
        DataError: A list has the wrong length, or a mask is malformed.
    """
    masks = track.items('segmentations')
    boxes = track.items('bboxes') if track.value.get('bboxes') is not None else masks
    for key, values in (('segmentations', masks), ('bboxes', boxes)):
        if len(values) != len(names):
            raise DataError(f'{track.where} has {len(values)} {key}, but the video has {len(names)} frames')
    for name, mask in zip(names, masks):
        if mask is not None:
            check_segmentation(mask, size, f'{track.where}, frame {name}')
    return [mask if box is not None else None for mask, box in zip(masks, boxes)]


def read_track_records(path: Path) -> Records:
    """Read the records of a JSON file of YouTube-VIS or OVIS."""
    return read_grouped_records(path, ('videos', 'video', 'video_id'), 'track', track_record)


def read_grouped_records(
    path: Path, owner: tuple[str, str, str], name: str, make: Callable[[int, Entry, list[Entry]], dict]
) -> Records:
    """Read a JSON file with videos or images (owners), and a flat list of annotations that refer to them by id.

    Args:
        path: JSON file.
        owner: Key of the list of owners, name of an owner in error messages, and key of the owner id in an annotation.
        name: Name of an annotation in error messages.
        make: Function (owner id, owner, its annotations) -> record.

    Raises:
        DataError: An entry is malformed, an id occurs more than once, or an owner or a category is unknown.
    """
    content = parse_json(read_bytes(path), path)
    classes, labelled = categories_of(content, things_only=True), has_annotations(content)
    key, owner_name, reference = owner

    def records() -> Iterator[dict | DataError]:
        owners = list(content.entries(key, owner_name, 'id'))
        numbers = list(check_unique((entry.integer('id') for entry in owners), owner_name, path))
        owned: dict[int, list[Entry]] = {number: [] for number in numbers}
        entries = list(content.entries('annotations', name, 'id')) if labelled else []
        for _, entry in zip(check_unique((entry.integer('id') for entry in entries), f'{name} id', path), entries):
            number, category = entry.integer(reference), entry.integer('category_id')
            if number not in owned:
                raise DataError(f'{entry.where} belongs to the {owner_name} {number}, which is missing from {key!r}')
            if category not in classes.category_ids:
                raise DataError(f'{entry.where}: the category {category} is not in the list of categories')
            owned[number].append(entry)
        for number, entry in zip(numbers, owners):
            yield record_or_error(make, number, entry, owned[number])

    return dict(classes=class_rows(classes), labelled=labelled), records()


def track_record(number: int, video: Entry, tracks: list[Entry]) -> dict:
    """Build the record of a video, with tracks numbered from 1 and without crowds.

    Args:
        number: Video id.
        video: Video entry.
        tracks: Annotation entries of the video.

    Raises:
        DataError: An entry is malformed, or numbers of frames differ.
    """
    names, size = video.items('file_names'), video.size()
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"{video.where}: 'file_names' must be strings, got {str(names)[:60]}")
    check_order(names, video.where)
    if 'length' in video.value and video.integer('length') != len(names):
        raise DataError(
            f'{video.where} has the length {video.integer("length")} and {len(names)} file names; both must be equal'
        )
    objects = []
    for track in tracks:
        masks = track_masks(track, size, names)
        if not track.flag('iscrowd'):
            objects.append(
                dict(
                    id=len(objects) + 1,
                    annotation=track.integer('id'),
                    category=track.integer('category_id'),
                    masks=masks,
                )
            )
    return dict(
        video_id=number,
        size=size,
        categories=[track['category'] for track in objects],
        tracks=objects,
        frames=[dict(name=name, image=name) for name in names],
    )


class TrackDataset(ClipDataset):
    """Base class of the datasets with tracks in a JSON file as ground truth.

    Raises:
        DataError: The JSON file is malformed, or has no annotations in training mode.
    """

    METAINFO = dict(task='vis')
    TRUTH = 'tracks'
    reader = staticmethod(read_track_records)

    def read_index(self) -> AnnotationIndex:
        """Read the records of ``ann_file``."""
        index = self.open_records()
        if not index.meta['labelled'] and not self.test_mode:
            raise DataError(
                f'{self.ann_file} holds no annotations, like the validation and test splits of YouTube-VIS and OVIS; '
                'use it with test_mode=True, not for training'
            )
        return index


@DATASETS.register_module()
class YouTubeVISDataset(TrackDataset):
    """Reads ``{train,valid,test}.json`` and ``<split>/JPEGImages/<video>/<frame>.jpg``.

    For 2022, ``<split>/instances.json`` is also supported.

    Args:
        version: Version of the dataset, which determines the class list: 2019, 2021, or 2022 (same classes as 2021).
        **kwargs: Arguments of :class:`ClipDataset`.
    """

    def __init__(self, version: int = 2021, **kwargs: object) -> None:
        if version not in VERSIONS:
            raise ValueError(f'version must be {", ".join(map(str, VERSIONS))}, got {version!r}')
        self.CLASS_LIST = f'YouTubeVIS{version}'
        super().__init__(**kwargs)
        self._metainfo.setdefault('dataset_type', self.CLASS_LIST)


@DATASETS.register_module()
class OVISDataset(TrackDataset):
    """Reads ``annotations_{train,valid,test}.json`` and ``{train,valid,test}/<video>/<frame>.jpg``."""

    METAINFO = dict(dataset_type='OVIS', task='vis')
    CLASS_LIST = 'OVIS'
