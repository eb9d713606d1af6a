"""Conversion of JSON files: COCO with the classes of a video dataset, and local splits of training sets."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdvis.datasets.annotation_json import parse_json, read_bytes
from mmdvis.datasets.classes import categories_of, check_against_known, known_classes
from mmdvis.datasets.coco import CLASS_MAPS
from mmdvis.errors import DataError
from mmdvis.io import write_json


def coco_to_clips(source: Path, out: Path, target: str) -> dict[str, int]:
    """Map ``instances_*.json`` to the classes of ``target``, as in the coco2*_train.json files of DVIS.

    Objects of other classes are removed; all images are kept.

    Args:
        source: COCO ``instances_*.json``.
        out: JSON file to write.
        target: Name of the target class list, a key of ``CLASS_MAPS``.

    Returns:
        Number of images (``images``), remaining objects (``objects``), and images with objects (``images_with``).

    Raises:
        DataError: The file is not a valid instance JSON file of COCO.
    """
    content = parse_json(read_bytes(source), source)
    for key in ('images', 'annotations', 'categories'):
        content.items(key)
    classes, mapped = known_classes(target), CLASS_MAPS[target]
    check_against_known(categories_of(content, things_only=True), 'COCO', source)
    kept = [
        dict(entry.value, category_id=mapped[entry.integer('category_id')])
        for entry in content.entries('annotations', 'annotation', 'id')
        if entry.integer('category_id') in mapped
    ]
    categories = [dict(id=number, name=name) for number, name in zip(classes.category_ids, classes.names)]
    write_json(out, dict(content.value, annotations=kept, categories=categories))
    return dict(images=len(content.value['images']), objects=len(kept), images_with=len({a['image_id'] for a in kept}))


def is_dev(name: str, share: float) -> bool:
    """Whether a video belongs to the local validation split, determined by the hash of its name.

    Args:
        name: Name of the video.
        share: Expected fraction of videos in the validation split, in (0, 1).
    """
    return int.from_bytes(hash_of(name)[:8], 'big') < share * 2**64


def validation_positions(names: Sequence[str], share: float) -> list[int]:
    """Positions of the videos for validation: some of several, but not all, and none of a single one.

    Args:
        names: Names of the videos.
        share: Expected fraction of videos for validation, in [0, 1).
    """
    if len(names) < 2 or share <= 0:
        return []
    chosen = [k for k, name in enumerate(names) if is_dev(name, share)]
    return chosen if 0 < len(chosen) < len(names) else [min(range(len(names)), key=lambda k: (hash_of(names[k]), k))]


def hash_of(name: str) -> bytes:
    """Hash of the name of a video, by which videos are selected."""
    return hashlib.sha256(name.encode()).digest()


def split_train_dev(source: Path, share: float = 0.1) -> dict[str, tuple[Path, int, str]]:
    """Split a training JSON file of YouTube-VIS or OVIS into ``*_sub.json`` (training) and ``*_dev.json`` (validation).

    The split of a video depends only on the folder name of its frames, so it is the same in all releases.

    Args:
        source: Training JSON file.
        share: Expected fraction of videos in the validation split, in (0, 1).

    Returns:
        Split (``'sub'`` or ``'dev'``) -> path, number of videos, and hash of the video names for comparison.

    Raises:
        DataError: ``share`` is out of range, the file has no annotations, or a split would be empty.
    """
    if not 0 < share < 1:
        raise DataError(f'share must lie between 0 and 1, got {share}')
    content = parse_json(read_bytes(source), source)
    videos = list(content.entries('videos', 'video', 'id'))
    annotations = list(content.entries('annotations', 'track', 'id')) if content.value.get('annotations') else []
    if not annotations:
        raise DataError(f'{source} holds no annotations; use the training JSON file')
    names = {}
    for video in videos:
        if not video.items('file_names'):
            raise DataError(f'{video.where} has no frames; remove it')
        names[video.integer('id')] = str(Path(video.items('file_names')[0]).parent)
    video_ids: dict[str, list[int]] = dict(sub=[], dev=[])
    for number, name in names.items():
        video_ids['dev' if is_dev(name, share) else 'sub'].append(number)
    result = {}
    for split, numbers in video_ids.items():
        if not numbers:
            raise DataError(f'{source}: the split {split!r} would be empty with share={share}; use another value')
        selected_ids = set(numbers)
        subset: dict[str, Any] = dict(
            content.value,
            videos=[video.value for video in videos if video.integer('id') in selected_ids],
            annotations=[a.value for a in annotations if a.integer('video_id') in selected_ids],
        )
        digest = hashlib.sha256('\n'.join(sorted(names[number] for number in numbers)).encode()).hexdigest()[:16]
        result[split] = (write_json(source.with_name(f'{source.stem}_{split}.json'), subset), len(numbers), digest)
    return result
