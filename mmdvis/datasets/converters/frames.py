"""What all preparations share: frames that are written whole or not at all, checked, and done in parallel."""

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from mmdvis.datasets.annotation_index import record_or_error
from mmdvis.datasets.annotation_json import list_folder
from mmdvis.errors import DataError
from mmdvis.io import id_to_rgb, image_size, read_pixels

Size = tuple[int, int]
SPLIT_NAMES = ('train', 'val', 'test')


def save_image(image: Image.Image, path: Path, **options: object) -> None:
    """Writes an image to a temporary name of this process, then renames it; the folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{os.getpid()}-{threading.get_ident()}-{path.name}')
    try:
        image.save(temporary, format='JPEG' if path.suffix == '.jpg' else 'PNG', **options)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_complete_image(path: Path, size: Size) -> bool:
    """Whether an image is there, can be decoded and has ``size`` (height, width)."""
    if not path.is_file():
        return False
    try:
        return read_pixels(path).size[::-1] == size
    except DataError:
        return False


def scaled_size(size: Size, height: int) -> Size:
    """The size of a frame of ``height`` rows; the width is rounded down, as the authors' scripts do."""
    return height, int(height * size[1] / size[0])


def write_frame(source: Path, target: Path, size: Size) -> bool:
    """A resized JPEG; returns whether it had to be written, because no whole one was there."""
    if is_complete_image(target, size):
        return False
    save_image(read_pixels(source).convert('RGB').resize(size[::-1], Image.BILINEAR), target, quality=95)
    if not is_complete_image(target, size):
        raise DataError(f'{target} was not written as it should be; is the disk full?')
    return True


def write_ids(ids: np.ndarray, target: Path) -> None:
    """A panoptic PNG of ids (H, W), read back to see that it is what was meant."""
    write_exact(id_to_rgb(ids), target)


def write_exact(pixels: np.ndarray, target: Path) -> None:
    """A PNG with just these pixels; one that is there already is kept."""
    image = Image.fromarray(pixels)
    for again in range(2):
        if is_complete_image(target, pixels.shape[:2]) and np.array_equal(np.asarray(read_pixels(target)), pixels):
            return
        if again == 0:
            save_image(image, target)
    raise DataError(f'{target} was not written as it should be; is the disk full?')


def resize_ids(ids: np.ndarray, size: Size) -> np.ndarray:
    """int32 (H, W) -> (*size), nearest neighbour."""
    return np.asarray(Image.fromarray(ids.astype(np.int32)).resize(size[::-1], Image.NEAREST))


def segments_info(ids: np.ndarray, categories: dict[int, int]) -> list[dict[str, Any]]:
    """``segments_info`` of a map of ids (H, W); ``categories``: id -> category id."""
    found, place = np.unique(ids, return_inverse=True)
    place = place.reshape(ids.shape)
    segments = []
    for k, number in enumerate(found.tolist()):
        if number == 0:
            continue
        mask = place == k
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        segments.append(
            dict(id=number, category_id=categories[number], iscrowd=0, area=int(mask.sum()), bbox=[int(x) for x in box])
        )
    return segments


def run_jobs(
    function: Callable[..., Any], jobs: Sequence[Any], workers: int, name: str, **settings: object
) -> list[Any]:
    """The results of all jobs in their order, from several processes.

    A fault stops nothing before every job was tried; what was done is kept, so that a second run goes on.

    Args:
        function: (job, ``**settings``) -> result.
        jobs: what to do.
        workers: processes.
        name: for the progress bar.
        settings: of the function.

    Raises:
        DataError: jobs failed; names the first few.
    """
    call = partial(record_or_error, partial(function, **settings))
    if workers > 1:
        with ProcessPoolExecutor(workers) as pool:
            results = list(with_progress(pool.map(call, jobs), len(jobs), name))
    else:
        results = list(with_progress(map(call, jobs), len(jobs), name))
    faults = [result for result in results if isinstance(result, DataError)]
    if faults:
        shown = '\n'.join(map(str, faults[:10]))
        raise DataError(
            f'{len(faults)} of {len(jobs)} could not be prepared; the others are done, and a second run goes on '
            f'from there:\n{shown}'
        )
    return results


def with_progress(items: Iterable[Any], total: int, name: str) -> Iterable[Any]:
    """The items with a progress bar."""
    return tqdm(items, total=total, desc=name, unit='video', disable=None)


def frames_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of a folder with one of the suffixes, in the order of time; none: DataError."""
    names = list_folder(folder, suffixes)
    if not names:
        raise DataError(f'{folder} holds no file as {", ".join(suffixes)}')
    return [folder / name for name in names]


def pair_frames(images: Sequence[Path], masks: Sequence[Path] | None, video: str) -> list[tuple[Path, Path | None]]:
    """Image and mask of each frame; raises DataError where one has no other."""
    if masks is None:
        return [(image, None) for image in images]
    by_stem = {mask.stem: mask for mask in masks}
    alone = [image.stem for image in images if image.stem not in by_stem]
    alone += sorted(by_stem.keys() - {image.stem for image in images})
    if alone:
        raise DataError(
            f'video {video}, frame {alone[0]}: there is only one of image and mask; {len(alone)} frames are so'
        )
    return [(image, by_stem[image.stem]) for image in images]


def check_sizes(video: str, image: Path, mask: Path, shape: Size) -> None:
    """Raises DataError where an image is not of the (height, width) of its mask."""
    if shape != image_size(image):
        raise DataError(
            f'video {video}, frame {image.stem}: {image} is {image_size(image)} (height, width), {mask} {shape}'
        )


def splits_in(raw: Path) -> list[str]:
    """The splits whose list of videos is in a folder; none: DataError."""
    splits = [split for split in SPLIT_NAMES if (raw / f'{split}.txt').is_file()]
    if not splits:
        raise DataError(
            f'{raw} holds none of {", ".join(f"{split}.txt" for split in SPLIT_NAMES)}, which name the videos'
        )
    return splits
