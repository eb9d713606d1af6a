"""Shared functions of the dataset converters: atomic writing of frames, verification, and parallel execution."""

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
from mmdvis.io import atomic_write, id_to_rgb, image_size, read_pixels

Size = tuple[int, int]
SPLIT_NAMES = ('train', 'val', 'test')


def save_image(image: Image.Image, path: Path, **options: object) -> None:
    """Write an image atomically: to a temporary file that is then renamed; creates missing folders.

    Args:
        image: The image.
        path: Target file; JPEG if the suffix is ``.jpg``, else PNG.
        **options: Options of ``Image.save``.
    """
    with atomic_write(path) as temporary:
        image.save(temporary, format='JPEG' if path.suffix == '.jpg' else 'PNG', **options)


def is_complete_image(path: Path, size: Size) -> bool:
    """Whether an image exists, can be decoded and has ``size`` (height, width)."""
    if not path.is_file():
        return False
    try:
        return read_pixels(path).size[::-1] == size
    except DataError:
        return False


def scaled_size(size: Size, height: int) -> Size:
    """Size (height, width) scaled to ``height``, with the width rounded down as in the official scripts."""
    return height, int(height * size[1] / size[0])


def write_frame(source: Path, target: Path, size: Size) -> None:
    """Write a resized JPEG, unless the target is complete.

    Args:
        source: Image file.
        target: JPEG file.
        size: (height, width) of the target.

    Raises:
        DataError: The source cannot be read, or the target was not written correctly.
    """
    if is_complete_image(target, size):
        return
    save_image(read_pixels(source).convert('RGB').resize(size[::-1], Image.BILINEAR), target, quality=95)
    if not is_complete_image(target, size):
        raise DataError(f'{target} was not written correctly; is the disk full?')


def write_ids(ids: np.ndarray, target: Path) -> None:
    """Write a panoptic PNG of ids (H, W), and read it back to verify it."""
    write_exact(id_to_rgb(ids), target)


def write_exact(pixels: np.ndarray, target: Path) -> None:
    """Write a PNG and verify its pixels; an identical existing file is kept.

    Args:
        pixels: Pixels (H, W) or (H, W, 3).
        target: PNG file.

    Raises:
        DataError: The file was not written correctly.
    """
    image = Image.fromarray(pixels)
    for attempt in range(2):
        if is_complete_image(target, pixels.shape[:2]) and np.array_equal(np.asarray(read_pixels(target)), pixels):
            return
        if attempt == 0:
            save_image(image, target)
    raise DataError(f'{target} was not written correctly; is the disk full?')


def resize_ids(ids: np.ndarray, size: Size) -> np.ndarray:
    """Resize ids (H, W) to ``size`` (height, width) with nearest-neighbour interpolation, int32."""
    return np.asarray(Image.fromarray(ids.astype(np.int32)).resize(size[::-1], Image.NEAREST))


def segments_info(ids: np.ndarray, categories: dict[int, int]) -> list[dict[str, Any]]:
    """Compute ``segments_info`` of a frame.

    Args:
        ids: Segment ids (H, W), 0 for void.
        categories: Segment id -> category id.
    """
    segment_ids, positions = np.unique(ids, return_inverse=True)
    positions = positions.reshape(ids.shape)
    segments = []
    for k, number in enumerate(segment_ids.tolist()):
        if number == 0:
            continue
        mask = positions == k
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        segments.append(
            dict(id=number, category_id=categories[number], iscrowd=0, area=int(mask.sum()), bbox=[int(x) for x in box])
        )
    return segments


def run_jobs(
    function: Callable[..., Any], jobs: Sequence[Any], workers: int, name: str, **settings: object
) -> list[Any]:
    """Run jobs in parallel processes.

    All jobs are run even if some fail, and the files of the completed jobs are kept, so that a second run resumes.

    Args:
        function: Function (job, ``**settings``) -> result.
        jobs: Jobs to run.
        workers: Number of processes; 1 runs the jobs in this process.
        name: Name in the progress bar.
        **settings: Keyword arguments of ``function``.

    Returns:
        Results in the order of the jobs.

    Raises:
        DataError: Jobs failed. The message contains the first ten errors.
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
            f'{len(faults)} of {len(jobs)} could not be converted; the others are complete, and a second run resumes '
            f'from there:\n{shown}'
        )
    return results


def with_progress(items: Iterable[Any], total: int, name: str) -> Iterable[Any]:
    """Iterate over the items with a progress bar."""
    return tqdm(items, total=total, desc=name, unit='video', disable=None)


def frames_in(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """List the files of a folder with one of the suffixes, in natural order.

    Raises:
        DataError: The folder is missing, or contains no such file.
    """
    names = list_folder(folder, suffixes)
    if not names:
        raise DataError(f'{folder} holds no file with one of the suffixes {", ".join(suffixes)}')
    return [folder / name for name in names]


def pair_frames(images: Sequence[Path], masks: Sequence[Path] | None, video: str) -> list[tuple[Path, Path | None]]:
    """Pair the images and masks of a video by stem.

    Args:
        images: Image files.
        masks: Mask files, None if the split has no masks.
        video: Name of the video, for error messages.

    Returns:
        Image and mask of each frame; the mask is None if ``masks`` is None.

    Raises:
        DataError: An image has no mask, or a mask has no image.
    """
    if masks is None:
        return [(image, None) for image in images]
    by_stem = {mask.stem: mask for mask in masks}
    unpaired = [image.stem for image in images if image.stem not in by_stem]
    unpaired += sorted(by_stem.keys() - {image.stem for image in images})
    if unpaired:
        raise DataError(
            f'video {video}, frame {unpaired[0]}: the image or the mask is missing; frames affected: {len(unpaired)}'
        )
    return [(image, by_stem[image.stem]) for image in images]


def check_sizes(video: str, image: Path, mask: Path, shape: Size) -> None:
    """Check that an image has the size of its mask.

    Args:
        video: Name of the video, for error messages.
        image: Image file.
        mask: Mask file, for error messages.
        shape: (height, width) of the mask.

    Raises:
        DataError: The sizes differ.
    """
    if shape != image_size(image):
        raise DataError(
            f'video {video}, frame {image.stem}: {image} is {image_size(image)} (height, width), but {mask} is {shape}'
        )


def splits_in(raw: Path) -> list[str]:
    """Find the splits with a list of videos ``<split>.txt`` in a folder.

    Raises:
        DataError: There is no list.
    """
    splits = [split for split in SPLIT_NAMES if (raw / f'{split}.txt').is_file()]
    if not splits:
        raise DataError(
            f'{raw} holds none of {", ".join(f"{split}.txt" for split in SPLIT_NAMES)}, the lists of videos'
        )
    return splits
