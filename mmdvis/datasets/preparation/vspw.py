"""VSPW's full-size release to a smaller one."""
import shutil
from pathlib import Path
from typing import Dict

import numpy as np

from mmdvis.datasets.vspw import read_list
from mmdvis.structures import IMAGE_SUFFIXES, DataError, image_size, read_pixels

from .frames import do_all, frames_in, pairs_of, resize_ids, scaled, write_exact, write_frame

SPLITS = ('train', 'val', 'test')


def prepare_video(name: str, raw: str, out: str, height: int) -> int:
    """Prepares one video; returns the number of its frames."""
    source, target = Path(raw, 'data', name), Path(out, 'data', name)
    masks = frames_in(source / 'mask', ('.png', )) if (source / 'mask').is_dir() else None
    pairs = pairs_of(frames_in(source / 'origin', IMAGE_SUFFIXES), masks, name)
    for image, mask in pairs:
        size = scaled(image_size(image), height)
        write_frame(image, target / 'origin' / f'{image.stem}.jpg', size)
        if mask is None:
            continue
        values = np.asarray(read_pixels(mask, modes=('L', 'P'), kinds=('PNG', )))
        if values.shape != image_size(image):
            raise DataError(f'video {name}, frame {image.stem}: {image} is {image_size(image)} (height, width), {mask} '
                            f'{values.shape}')
        write_exact(resize_ids(values, size).astype(np.uint8), target / 'mask' / f'{image.stem}.png')
    return len(pairs)


def prepare_vspw(raw: Path, out: Path, height: int = 480, workers: int = 2) -> Dict[str, int]:
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
    splits = [split for split in SPLITS if (raw / f'{split}.txt').is_file()]
    if not splits:
        raise DataError(f'{raw} holds none of {", ".join(f"{split}.txt" for split in SPLITS)}, which name the videos')
    frames = {}
    for split in splits:
        names = read_list(raw / f'{split}.txt')
        frames[split] = sum(do_all(prepare_video, names, workers, split, raw=str(raw), out=str(out), height=height))
        shutil.copyfile(raw / f'{split}.txt', out / f'{split}.txt')
    return frames
