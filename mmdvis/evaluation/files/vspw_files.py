"""Readers of ground truth and predictions in the layout of VSPW."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmdvis.checks import path_inside
from mmdvis.errors import BadInputError

from .pngs import read_labels


def read_names(path: Path) -> list[str]:
    """Names of the videos in a text file with one name per line.

    Raises:
        BadInputError: The file is not a text file, or lists a video more than once.
    """
    try:
        lines = path.read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError:
        raise BadInputError(f'{path} is not a text file; it must have one video name per line') from None
    names = [line.strip() for line in lines if line.strip()]
    repeated = [name for k, name in enumerate(names) if name in names[:k]]
    if repeated:
        raise BadInputError(f'{path} lists the video {repeated[0]} more than once')
    return names


def mask_files(root: Path, name: str) -> list[Path]:
    """Masks of a VSPW video, excluding hidden files.

    Raises:
        BadInputError: There is no mask, or the folder ``origin``, if there is one, has a frame without a mask.
    """
    folder = path_inside(root / 'data', name, links=True)
    masks = sorted(p for p in (folder / 'mask').glob('*.png') if not p.name.startswith('.'))
    if not masks:
        raise BadInputError(f'{folder / "mask"} contains no masks of video {name}')
    images = (p.stem for p in sorted((folder / 'origin').glob('*')) if not p.name.startswith('.'))
    unlabelled = sorted(set(images) - {mask.stem for mask in masks})
    if unlabelled:
        raise BadInputError(
            f'video {name}: {folder / "mask"} lacks {unlabelled[0]}.png, of which {folder / "origin"} has the image; '
            'every frame must have a mask'
        )
    return masks


def vss_frames(pairs: Sequence[tuple[Path, Path]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields ground truth and prediction of each frame; raises BadInputError if any sizes differ."""
    size = None
    for gt_path, predicted_path in pairs:
        maps = read_labels(gt_path), read_labels(predicted_path)
        size = size or maps[0].shape
        if maps[0].shape != size:
            raise BadInputError(
                f'{gt_path} is {maps[0].shape} (height, width), but the first frame of the video is {size}'
            )
        if maps[0].shape != maps[1].shape:
            raise BadInputError(
                f'{predicted_path} is {maps[1].shape} (height, width), '
                f'but the ground truth {gt_path} is {maps[0].shape}'
            )
        yield maps
