"""YouTube-VIS 2019, 2021, 2022 and OVIS: tracks with run-length masks in one json."""

from collections.abc import Callable, Iterator
from pathlib import Path

from mmdvis.errors import DataError
from mmdvis.io.rle import check_segmentation
from mmdvis.registry import DATASETS

from .annotation_index import AnnotationIndex, Records, open_index, record_or_error
from .annotation_json import Entry, has_annotations, parse_json, read_bytes
from .base import ClipDataset, check_order, check_unique
from .classes import categories_of, class_rows

VERSIONS = (2019, 2021, 2022)


def track_masks(track: Entry, size: tuple[int, int], names: list[str]) -> list[dict | None]:
    """A mask or None for each frame; an object is there only where both its box and its mask are."""
    masks = track.items('segmentations')
    boxes = track.items('bboxes') if track.value.get('bboxes') is not None else masks
    for key, found in (('segmentations', masks), ('bboxes', boxes)):
        if len(found) != len(names):
            raise DataError(f'{track.where} has {len(found)} {key}, the video has {len(names)} frames')
    for name, mask in zip(names, masks):
        if mask is not None:
            check_segmentation(mask, size, f'{track.where}, frame {name}')
    return [mask if box is not None else None for mask, box in zip(masks, boxes)]


def read_track_records(path: Path) -> Records:
    """The records of a json of YouTube-VIS or OVIS."""
    return read_grouped_records(path, ('videos', 'video', 'video_id'), 'track', track_record)


def read_grouped_records(
    path: Path, owner: tuple[str, str, str], name: str, make: Callable[[int, Entry, list[Entry]], dict]
) -> Records:
    """The records of a json with owners (videos or images), and annotations that name theirs.

    Args:
        path: the json.
        owner: key of the owners, what one is called, and the key by which an annotation names it.
        name: what an annotation is called.
        make: (id, owner, its annotations) -> record.
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
                raise DataError(f'{entry.where} is of the {owner_name} {number}, which {key!r} does not have')
            if category not in classes.category_ids:
                raise DataError(f'{entry.where}: the category {category} is not in the list of categories')
            owned[number].append(entry)
        for number, entry in zip(numbers, owners):
            yield record_or_error(make, number, entry, owned[number])

    return dict(classes=class_rows(classes), labelled=labelled), records()


def track_record(number: int, video: Entry, tracks: list[Entry]) -> dict:
    """The record of a video; tracks are numbered from 1, crowds are left out."""
    names, size = video.items('file_names'), (video.integer('height'), video.integer('width'))
    if not all(isinstance(name, str) for name in names):
        raise DataError(f"{video.where}: 'file_names' must be texts, got {str(names)[:60]}")
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
    """Base of the datasets whose truth are tracks in a json.

    Raises:
        DataError: the json is not as it should be, or has no annotations to train on.
    """

    METAINFO = dict(task='vis')
    TRUTH = 'tracks'
    reader = staticmethod(read_track_records)

    def read_index(self) -> AnnotationIndex:
        """The records of ``ann_file``."""
        index = open_index(Path(self.ann_file), self.reader.__name__, self.reader, self.faults)
        if not index.meta['labelled'] and not self.test_mode:
            raise DataError(
                f'{self.ann_file} holds no annotations, as validation and test splits of YouTube-VIS and OVIS do; it '
                'can be tested (test_mode=True) but not trained on'
            )
        return index


@DATASETS.register_module()
class YouTubeVISDataset(TrackDataset):
    """Reads ``{train,valid,test}.json`` and ``<split>/JPEGImages/<video>/<frame>.jpg``; of 2022 also ``instances.json``.

    Args:
        version: 2019, 2021 or 2022, whose class lists differ (2022 has that of 2021).
        **kwargs: of :class:`ClipDataset`.
    """

    def __init__(self, version: int = 2021, **kwargs: object) -> None:
        if version not in VERSIONS:
            raise ValueError(f'version must be {", ".join(map(str, VERSIONS))}, got {version!r}')
        self.CLASS_LIST = f'YouTubeVIS{version}'
        super().__init__(**kwargs)
        self._metainfo['dataset_type'] = self.CLASS_LIST


@DATASETS.register_module()
class OVISDataset(TrackDataset):
    """Reads ``annotations_{train,valid,test}.json`` and ``{train,valid,test}/<video>/<frame>.jpg``."""

    METAINFO = dict(dataset_type='OVIS', task='vis')
    CLASS_LIST = 'OVIS'
