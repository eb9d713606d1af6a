"""Converter for VSPW: full-resolution release to a lower resolution."""

import shutil
from pathlib import Path

import numpy as np

from mmdvis.checks import path_inside
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
    """Convert a video.

    Args:
        name: Name of the video.
        raw: Root folder of the official release.
        out: Root folder of the converted dataset.
        height: Height of the frames, in pixels.

    Returns:
        Number of frames.

    Raises:
        DataError: A file is missing or unreadable, or sizes differ.
    """
    source, target = path_inside(Path(raw, 'data'), name, links=True), path_inside(Path(out, 'data'), name)
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
    """Convert all splits with a list of videos; an interrupted run can be resumed.

    Args:
        raw: Root folder of the official release, with ``data/<video>/{origin,mask}`` and ``{train,val,test}.txt``.
        out: Output folder.
        height: Height of the frames, in pixels.
        workers: Number of processes.

    Returns:
        Split -> number of frames.

    Raises:
        DataError: There is no list, or videos could not be converted.
    """
    num_frames = {}
    for split in splits_in(raw):
        names = read_list(raw / f'{split}.txt')
        num_frames[split] = sum(
            run_jobs(prepare_vspw_video, names, workers, split, raw=str(raw), out=str(out), height=height)
        )
        shutil.copyfile(raw / f'{split}.txt', out / f'{split}.txt')
    return num_frames
