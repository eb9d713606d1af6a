"""Jsons made out of jsons: COCO with the classes of a video dataset, and local splits of what has no public validation."""

import hashlib
from pathlib import Path
from typing import Any

from mmdvis.datasets.annotation_json import parse_json, read_bytes, write_json
from mmdvis.datasets.classes import categories_of, check_against_known, known_classes
from mmdvis.datasets.coco import CLASS_MAPS
from mmdvis.errors import DataError


def coco_to_clips(source: Path, out: Path, target: str) -> dict[str, int]:
    """``instances_*.json`` with the classes of ``target``: other objects go, all images stay (as DVIS's coco2*_train.json).

    Returns:
        numbers of images, of objects kept, and of images with objects.

    Raises:
        DataError: the file is no instance json of COCO.
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
    """Whether a video belongs to the local validation part; depends on its name only."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], 'big') < share * 2**64


def split_train_dev(source: Path, share: float = 0.1) -> dict[str, tuple[Path, int, str]]:
    """Divides a training json of YouTube-VIS or OVIS into ``*_sub.json`` to train on and ``*_dev.json`` to validate on.

    A video goes to the same part whatever else is in the file, and in every release of it, because the folder of its frames
    decides.

    Args:
        source: the training json.
        share: of the videos in the validation part, about.

    Returns:
        part -> its file, its number of videos, and the hash of their names, to compare with others.

    Raises:
        DataError: the json has no labels, or a part would be empty.
    """
    if not 0 < share < 1:
        raise DataError(f'the share must lie between 0 and 1, got {share}')
    content = parse_json(read_bytes(source), source)
    videos = list(content.entries('videos', 'video', 'id'))
    annotations = list(content.entries('annotations', 'track', 'id')) if content.value.get('annotations') else []
    if not annotations:
        raise DataError(f'{source} holds no annotations, so no part of it can be validated on')
    names = {}
    for video in videos:
        if not video.items('file_names'):
            raise DataError(f'{video.where} has no frames; remove it')
        names[video.integer('id')] = str(Path(video.items('file_names')[0]).parent)
    parts: dict[str, list[int]] = dict(sub=[], dev=[])
    for number, name in names.items():
        parts['dev' if is_dev(name, share) else 'sub'].append(number)
    result = {}
    for part, numbers in parts.items():
        if not numbers:
            raise DataError(f'{source}: the part {part!r} would be empty; use another share than {share}')
        chosen = set(numbers)
        found: dict[str, Any] = dict(
            content.value,
            videos=[video.value for video in videos if video.integer('id') in chosen],
            annotations=[a.value for a in annotations if a.integer('video_id') in chosen],
        )
        digest = hashlib.sha256('\n'.join(sorted(names[number] for number in numbers)).encode()).hexdigest()[:16]
        result[part] = write_json(source.with_name(f'{source.stem}_{part}.json'), found), len(numbers), digest
    return result
