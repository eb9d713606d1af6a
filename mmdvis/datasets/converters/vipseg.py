"""Converter for VIPSeg: official release to 720p frames, panoptic PNGs and one JSON file per split."""

from pathlib import Path
from typing import Any

import numpy as np

from mmdvis.checks import path_inside
from mmdvis.datasets.classes import ClassList, known_classes
from mmdvis.datasets.vspw import read_list
from mmdvis.errors import DataError
from mmdvis.io import IMAGE_SUFFIXES, image_size, read_pixels, write_json

from .frames import (
    check_sizes,
    frames_in,
    pair_frames,
    resize_ids,
    run_jobs,
    scaled_size,
    segments_info,
    splits_in,
    write_frame,
    write_ids,
)

# raw values from 125 are category * 100 + instance, lower values are a category, and 0 is void
FIRST_LABELLED_VALUE = 125
ERRATA = {  # video ('' for all videos) -> raw value -> corrected value
    '': {200: 0}  # not a class (VIPSeg-Dataset issue 1, video 353_-5sqmCF8OFU); other readers treat it as void
}


def categories_in(values: np.ndarray, classes: ClassList, where: str) -> dict[int, int]:
    """Map the raw values of a mask to category ids.

    Args:
        values: Unique raw values.
        classes: Classes of VIPSeg.
        where: Location, for error messages.

    Returns:
        Raw value -> category id, without void.

    Raises:
        DataError: A value is neither a category nor an instance of a thing class.
    """
    category_of_value = {}
    for value in values.tolist():
        if value == 0:
            continue
        category = (value // 100 if value >= FIRST_LABELLED_VALUE else value) - 1
        if category not in classes.labels:
            raise DataError(
                f'{where} has the value {value}, which belongs to no category; allowed are 0 (void), 1 to 124, and '
                'category * 100 + instance'
            )
        is_thing = classes.labels[category] < classes.num_things
        if value >= FIRST_LABELLED_VALUE and not is_thing:
            raise DataError(
                f'{where} has the value {value}, an instance of {classes.names[classes.labels[category]]!r}, which '
                'is stuff; if this is an error of the release, correct it with --errata'
            )
        category_of_value[value] = category
    return category_of_value


def apply_errata(values: np.ndarray, errata: dict[int, int], path: Path) -> list[str]:
    """Apply errata to a raw mask in place.

    Args:
        values: Raw values (H, W).
        errata: Raw value -> corrected value.
        path: Mask file, for the notes.

    Returns:
        One note per corrected value.
    """
    notes = []
    for raw_value, corrected_value in errata.items():
        mask = values == raw_value
        if mask.any():
            values[mask] = corrected_value
            notes.append(f'{path}: {int(mask.sum())} pixels with value {raw_value} were set to {corrected_value}')
    return notes


def prepare_vipseg_video(
    name: str, raw: str, out: str, height: int, errata: dict[str, dict[int, int]]
) -> tuple[dict, dict | None, list[str]]:
    """Convert a video; complete files of an earlier run are kept.

    Args:
        name: Name of the video.
        raw: Root folder of the official release.
        out: Root folder of the converted dataset.
        height: Height of the frames, in pixels.
        errata: Video ('' for all videos) -> raw value -> corrected value.

    Returns:
        Entries of ``videos`` and of ``annotations`` (None without masks), and notes on the applied errata.

    Raises:
        DataError: A file is missing or unreadable, sizes differ, or a mask has an invalid value.
    """
    source, target, classes = Path(raw), Path(out), known_classes('VIPSeg')
    folders = {kind: path_inside(source / kind, name, links=True) for kind in ('imgs', 'panomasks')}
    masks = frames_in(folders['panomasks'], ('.png',)) if folders['panomasks'].is_dir() else None
    images, annotations, notes = [], [], []
    errata = {**errata.get('', {}), **errata.get(name, {})}
    for image, mask in pair_frames(frames_in(folders['imgs'], IMAGE_SUFFIXES), masks, name):
        size = scaled_size(image_size(image), height)
        write_frame(image, path_inside(target / 'images', name) / f'{image.stem}.jpg', size)
        ending = '.jpg' if mask is None else '.png'
        images.append(dict(id=image.stem, width=size[1], height=size[0], file_name=image.stem + ending))
        if mask is None:
            continue
        values = np.asarray(read_pixels(mask, modes=('L', 'P', 'I', 'I;16', 'I;16B'), kinds=('PNG',))).astype(np.int32)
        check_sizes(name, image, mask, values.shape)
        notes += apply_errata(values, errata, mask)
        ids = resize_ids(values, size)
        categories = categories_in(np.unique(values), classes, str(mask))
        write_ids(ids, path_inside(target / 'panomasksRGB', name) / f'{image.stem}.png')
        annotations.append(
            dict(image_id=image.stem, file_name=f'{image.stem}.png', segments_info=segments_info(ids, categories))
        )
    return (
        dict(video_id=name, images=images),
        None if masks is None else dict(video_id=name, annotations=annotations),
        notes,
    )


def check_all_or_none(done: list[tuple[dict, dict | None, list[str]]], split: str) -> None:
    """Check that all videos of a split have masks, or none.

    Args:
        done: Results of :func:`prepare_vipseg_video`.
        split: Name of the split, for error messages.

    Raises:
        DataError: Some videos have masks and others do not.
    """
    without_masks = [video['video_id'] for video, annotation, _ in done if annotation is None]
    if without_masks and len(without_masks) < len(done):
        raise DataError(
            f'split {split}: {len(without_masks)} of {len(done)} videos have no mask ({", ".join(without_masks[:3])}); '
            'all videos must have masks or, in a test split, none'
        )


def prepare_vipseg(
    raw: Path, out: Path, height: int = 720, workers: int = 2, errata: dict[str, dict[int, int]] | None = None
) -> dict[str, Any]:
    """Convert all splits with a list of videos; an interrupted run can be resumed.

    Args:
        raw: Root folder of the official release, with ``imgs/<video>``, ``panomasks/<video>`` and
            ``{train,val,test}.txt``.
        out: Output folder.
        height: Height of the frames, in pixels.
        workers: Number of processes.
        errata: Corrections in addition to ``ERRATA``, in the same format.

    Returns:
        Split -> path of its JSON file, and ``errata`` -> notes on the applied corrections.

    Raises:
        DataError: There is no list, or videos could not be converted. The JSON file of the split is then not written.
    """
    result: dict[str, Any] = dict(errata=[])
    splits = splits_in(raw)
    categories = known_classes('VIPSeg').panoptic_categories()
    for split in splits:
        entries = run_jobs(
            prepare_vipseg_video,
            read_list(raw / f'{split}.txt'),
            workers,
            split,
            raw=str(raw),
            out=str(out),
            height=height,
            errata={**ERRATA, **(errata or {})},
        )
        check_all_or_none(entries, split)
        content = dict(videos=[video for video, _, _ in entries], categories=categories)
        if any(annotation for _, annotation, _ in entries):
            content['annotations'] = [annotation for _, annotation, _ in entries if annotation]
        result[split] = write_json(out / f'panoptic_gt_VIPSeg_{split}.json', content)
        result['errata'] += [note for _, _, notes in entries for note in notes]
    return result
