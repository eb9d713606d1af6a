"""VIPSeg's raw release to 720p, panoptic PNGs and a json for each split."""

from pathlib import Path
from typing import Any

import numpy as np

from mmdvis.datasets.annotation_json import write_json
from mmdvis.datasets.classes import ClassList, known_classes
from mmdvis.datasets.vspw import read_list
from mmdvis.errors import DataError
from mmdvis.io import IMAGE_SUFFIXES, image_size, read_pixels

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

FIRST_LABELLED_VALUE = (
    125  # raw values from here on are category * 100 + instance, below they are a category; 0 is void
)
ERRATA = {  # video (or '' for all) -> raw value -> what it should be
    '': {200: 0}  # no class: VIPSeg-Dataset, issue 1 (353_-5sqmCF8OFU); other readers take it for void everywhere
}


def categories_in(values: np.ndarray, classes: ClassList, where: str) -> dict[int, int]:
    """Raw value -> category id of the values of a mask.

    Raises:
        DataError: a value is neither stuff nor an instance of a thing.
    """
    found = {}
    for value in values.tolist():
        if value == 0:
            continue
        category = (value // 100 if value >= FIRST_LABELLED_VALUE else value) - 1
        if category not in classes.labels:
            raise DataError(
                f'{where} has the value {value}, which is of no category; allowed are 0 (void), 1 to 124, and '
                'category * 100 + instance'
            )
        is_thing = classes.labels[category] < classes.num_things
        if value >= FIRST_LABELLED_VALUE and not is_thing:
            raise DataError(
                f'{where} has the value {value}, an instance of {classes.names[classes.labels[category]]!r}, which '
                'is stuff; if the release errs here, correct it by --errata'
            )
        found[value] = category
    return found


def apply_errata(values: np.ndarray, errata: dict[int, int], path: Path) -> list[str]:
    """Applies errata to the values of a raw mask, in place; says what was corrected."""
    notes = []
    for wrong, right in errata.items():
        where = values == wrong
        if where.any():
            values[where] = right
            notes.append(f'{path}: {int(where.sum())} pixels of {wrong} are now {right}')
    return notes


def prepare_vipseg_video(
    name: str, raw: str, out: str, height: int, errata: dict[str, dict[int, int]]
) -> tuple[dict, dict | None, list[str]]:
    """Prepares one video; what a run before left whole is kept.

    Returns:
        its entries of ``videos`` and of ``annotations`` (None without masks), and sentences on errata that were applied.
    """
    source, target, classes = Path(raw), Path(out), known_classes('VIPSeg')
    masks = frames_in(source / 'panomasks' / name, ('.png',)) if (source / 'panomasks' / name).is_dir() else None
    images, annotations, notes = [], [], []
    errata = {**errata.get('', {}), **errata.get(name, {})}
    for image, mask in pair_frames(frames_in(source / 'imgs' / name, IMAGE_SUFFIXES), masks, name):
        size = scaled_size(image_size(image), height)
        write_frame(image, target / 'images' / name / f'{image.stem}.jpg', size)
        ending = '.jpg' if mask is None else '.png'
        images.append(dict(id=image.stem, width=size[1], height=size[0], file_name=image.stem + ending))
        if mask is None:
            continue
        values = np.asarray(read_pixels(mask, modes=('L', 'P', 'I', 'I;16', 'I;16B'), kinds=('PNG',))).astype(np.int32)
        check_sizes(name, image, mask, values.shape)
        notes += apply_errata(values, errata, mask)
        ids = resize_ids(values, size)
        categories = categories_in(np.unique(values), classes, str(mask))
        write_ids(ids, target / 'panomasksRGB' / name / f'{image.stem}.png')
        annotations.append(
            dict(image_id=image.stem, file_name=f'{image.stem}.png', segments_info=segments_info(ids, categories))
        )
    return (
        dict(video_id=name, images=images),
        None if masks is None else dict(video_id=name, annotations=annotations),
        notes,
    )


def check_all_or_none(done: list[tuple[dict, dict | None, list[str]]], split: str) -> None:
    """Raises DataError where some videos of a split have masks and others none."""
    without = [video['video_id'] for video, annotation, _ in done if annotation is None]
    if without and len(without) < len(done):
        raise DataError(
            f'split {split}: there are no masks of {len(without)} of {len(done)} videos ({", ".join(without[:3])}); '
            'either all have masks or, in a test split, none'
        )


def prepare_vipseg(
    raw: Path, out: Path, height: int = 720, workers: int = 2, errata: dict[str, dict[int, int]] | None = None
) -> dict[str, Any]:
    """Prepares every split whose list is there; safe to stop and to start again.

    Args:
        raw: holds ``imgs/<video>``, ``panomasks/<video>``, and ``{train,val,test}.txt``.
        out: folder to fill.
        height: of the frames, in pixels.
        workers: processes.
        errata: corrections besides ``ERRATA``, in its form.

    Returns:
        split -> its json; ``errata`` -> sentences on what was corrected.

    Raises:
        DataError: a list is missing, or videos could not be prepared; then their json is not written.
    """
    result: dict[str, Any] = dict(errata=[])
    splits = splits_in(raw)
    classes = known_classes('VIPSeg')
    rows = sorted(zip(classes.category_ids, classes.names, range(len(classes.names)), classes.palette))
    categories = [
        dict(id=number, name=name, isthing=int(label < classes.num_things), color=list(colour))
        for number, name, label, colour in rows
    ]
    for split in splits:
        done = run_jobs(
            prepare_vipseg_video,
            read_list(raw / f'{split}.txt'),
            workers,
            split,
            raw=str(raw),
            out=str(out),
            height=height,
            errata={**ERRATA, **(errata or {})},
        )
        check_all_or_none(done, split)
        content = dict(videos=[video for video, _, _ in done], categories=categories)
        if any(annotation for _, annotation, _ in done):
            content['annotations'] = [annotation for _, annotation, _ in done if annotation]
        result[split] = write_json(out / f'panoptic_gt_VIPSeg_{split}.json', content)
        result['errata'] += [note for _, _, notes in done for note in notes]
    return result
