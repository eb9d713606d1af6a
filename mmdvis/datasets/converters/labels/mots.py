"""Reader of the text and the image format of MOTS."""

from pathlib import Path

import numpy as np

from mmdvis.errors import DataError
from mmdvis.io import read_pixels
from mmdvis.io.rle import compress

from .videos import LabelledVideo, Masks, add, encode, frame_size, images_in, objects_of, video_folders

IGNORED = 10  # class of regions without labels in MOTS
MOTS_CLASSES = {1: 'car', 2: 'pedestrian'}


def read_mots(root: Path) -> list[LabelledVideo]:
    """Videos in the text or image format of MOTS.

    Text: folders with images and ``gt.txt``, or ``img1`` and ``gt/gt.txt``. A line has the frame (the number of its
    image), the id of the object, its class, height and width, and the mask as run lengths. Images: folders with
    ``images`` and ``instances``, PNGs whose values are 1000 times the class plus the number of the object;
    ``instances/labels.txt`` may have the names of the classes. Regions of class 10 are ignored.

    Args:
        root: Folder of a video, or of several.

    Raises:
        DataError: A file is missing or malformed, with its line and what is wrong.
    """
    found = video_folders(root, 'gt.txt', 'gt/gt.txt', 'instances/*.png')
    return [(mots_images if path.suffix == '.png' else mots_video)(folder, path) for folder, path in found]


def mots_images(folder: Path, first: Path) -> LabelledVideo:
    """A video of MOTS with PNGs; see :func:`read_mots`."""
    inner = next((folder / name for name in ('images', 'img1', 'image_02') if (folder / name).is_dir()), folder)
    by_stem = {image.stem: image for image in images_in(inner)}
    files = images_in(first.parent)
    missing = next((file for file in files if file.stem not in by_stem), None)
    if missing is not None:
        raise DataError(f'{missing} has no image of the same name in {inner}')
    images, names = [by_stem[file.stem] for file in files], MOTS_CLASSES
    if (first.parent / 'labels.txt').is_file():
        lines = (first.parent / 'labels.txt').read_text(errors='replace').split('\n')
        names = {k: line.strip() for k, line in enumerate(lines, 1) if line.strip()}
    size, masks = frame_size(images), Masks()
    for frame, file in enumerate(files):
        values = np.asarray(read_pixels(file, kinds=('PNG',))).astype(np.int64)
        if values.shape != size:
            raise DataError(f'{file} is {values.shape}, but its image is {size}; it must be a grey PNG with 16 bits')
        for value in np.unique(values).tolist():
            category, number = divmod(value, 1000)
            if value and not category:
                raise DataError(f'{file} has the value {value}; values must be 1000 times the class plus the number')
            if value and (category != IGNORED or names is not MOTS_CLASSES):
                label = names.get(category, f'class {category}')
                add(masks, (label, number), frame, encode(values == value))
    return LabelledVideo(folder.name, tuple(images), size, objects_of(masks))


def mots_video(folder: Path, file: Path) -> LabelledVideo:
    """A video of MOTS; see :func:`read_mots`."""
    images = images_in(folder / 'img1' if (folder / 'img1').is_dir() else folder)
    size, masks = frame_size(images), Masks()
    by_number = {int(image.stem): t for t, image in enumerate(images) if image.stem.isdecimal()}
    for number, line in enumerate(file.read_text(errors='replace').splitlines(), 1):
        words, where = line.split(), f'{file}, line {number}'
        if not words:
            continue
        try:
            time, identity, category, height, width = (int(word) for word in words[:5])
            code = dict(size=[height, width], counts=words[5])
        except (ValueError, IndexError):
            raise DataError(f'{where}: expected "frame id class height width mask", got {line[:60]!r}') from None
        frame = by_number.get(time, time - 1 if not by_number else None)
        if frame is None or not 0 <= frame < len(images):
            raise DataError(f'{where}: there is no image of frame {time}')
        if (height, width) != size:
            raise DataError(f'{where}: the mask is {(height, width)} (height, width), but the frames are {size}')
        if category == IGNORED:
            continue
        mask = compress(code, size, where)
        add(masks, (MOTS_CLASSES.get(category, f'class {category}'), identity), frame, mask)
    return LabelledVideo(folder.name, tuple(images), size, objects_of(masks))
