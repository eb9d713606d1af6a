"""VSPW's full-size release to a smaller one."""

import shutil
from pathlib import Path

import numpy as np

from mmdvis.datasets.vspw import read_list
from mmdvis.io import IMAGE_SUFFIXES, image_size, read_pixels

from .frames import (
    check_sizes,
    frames_in,
    pair_frames,
    resize_ids,
    run_jobs,
    scaled_size,
    splits_in,
    write_exact,
    write_frame,
)


def prepare_vspw_video(name: str, raw: str, out: str, height: int) -> int:
    """Prepares one video; returns the number of its frames."""
    source, target = Path(raw, 'data', name), Path(out, 'data', name)
    masks = frames_in(source / 'mask', ('.png',)) if (source / 'mask').is_dir() else None
    pairs = pair_frames(frames_in(source / 'origin', IMAGE_SUFFIXES), masks, name)
    for image, mask in pairs:
        size = scaled_size(image_size(image), height)
        write_frame(image, target / 'origin' / f'{image.stem}.jpg', size)
        if mask is None:
            continue
        values = np.asarray(read_pixels(mask, modes=('L', 'P'), kinds=('PNG',)))
        check_sizes(name, image, mask, values.shape)
        write_exact(resize_ids(values, size).astype(np.uint8), target / 'mask' / f'{image.stem}.png')
    return len(pairs)


def prepare_vspw(raw: Path, out: Path, height: int = 480, workers: int = 2) -> dict[str, int]:
    """Prepares every split whose list is there; safe to stop and to start again.

    Args:
        raw: holds ``data/<video>/{origin,mask}`` and ``{train,val,test}.txt``.
        out: folder to fill.
        height: of the frames, in pixels.
        workers: processes.

    Returns:
        split -> frames.

    Raises:
        DataError: no list is there, or videos could not be prepared.
    """
    frames = {}
    for split in splits_in(raw):
        names = read_list(raw / f'{split}.txt')
        frames[split] = sum(
            run_jobs(prepare_vspw_video, names, workers, split, raw=str(raw), out=str(out), height=height)
        )
        shutil.copyfile(raw / f'{split}.txt', out / f'{split}.txt')
    return frames
