"""Reader of folders with mask images."""

from pathlib import Path

import numpy as np

from mmdvis.errors import DataError
from mmdvis.io import natural_key, read_pixels

from .videos import LabelledVideo, Masks, add, encode, frame_size, images_in, objects_of

VOID = 255  # value of mask images that belongs to no object


def read_masks(root: Path) -> list[LabelledVideo]:
    """Videos with mask images: ``images/<video>`` and ``masks/<video>``, or ``JPEGImages`` and ``Annotations`` (DAVIS).

    A mask is a PNG with the number of the object of each pixel (palette or grey): 0 is background, 255 is void. All
    objects have the class ``object``; an object has the same number in all frames. Frames without a mask are left out.
    Or the folder of a video has a folder for each object, called by its class and its number, as ``person_1``, with
    PNGs that are not 0 where the object is.

    Args:
        root: Folder with these two folders, which may have one more level, such as ``480p``.

    Raises:
        DataError: A folder or image is missing or malformed.
    """
    root = root.resolve()
    pairs = [('images', 'masks'), ('JPEGImages', 'Annotations')]
    found = next(((root / a, root / b) for a, b in pairs if (root / a).is_dir() and (root / b).is_dir()), None)
    if found is None:
        raise DataError(f'{root} must have the folders images and masks, or JPEGImages and Annotations')
    image_root, mask_root = only_level(found[0]), found[1]
    if not any((image_root / folder.name).is_dir() for folder in mask_root.iterdir() if folder.is_dir()):
        mask_root = only_level(mask_root)
    videos = [folder for folder in sorted(mask_root.iterdir(), key=natural_key) if folder.is_dir()]
    if not videos:
        raise DataError(f'{mask_root} has no folder of a video')
    return [mask_video(folder, image_root / folder.name) for folder in videos]


def only_level(folder: Path) -> Path:
    """The folder itself, or the only folder in it if this has folders, too (``480p`` of DAVIS)."""
    inner = [path for path in folder.iterdir() if path.is_dir()]
    has_videos = len(inner) == 1 and any(path.is_dir() for path in inner[0].iterdir())
    return inner[0] if has_videos else folder


def mask_video(masks_folder: Path, images_folder: Path) -> LabelledVideo:
    """A video with mask images; see :func:`read_masks`."""
    if not images_folder.is_dir():
        raise DataError(f'{masks_folder} has no images: there is no folder {images_folder}')
    by_stem = {image.stem: image for image in images_in(images_folder)}
    entries = [path for path in sorted(masks_folder.iterdir(), key=natural_key) if not path.name.startswith('.')]
    objects = [path for path in entries if path.is_dir()]
    loose = next((path for path in entries if objects and path.suffix.lower() == '.png'), None)
    if loose is not None:
        raise DataError(f'{loose} stands beside folders of objects, so it is unknown what it shows; move it')
    files = [file for folder in objects or [masks_folder] for file in sorted(folder.glob('*.png'), key=natural_key)]
    missing = next((file for file in files if file.stem not in by_stem), None)
    if missing is not None or not files:
        raise DataError(
            f'{missing or masks_folder} has no image in {images_folder}' if files else f'{masks_folder} has no PNG'
        )
    images = [by_stem[stem] for stem in sorted({file.stem for file in files}, key=lambda stem: natural_key(stem))]
    size, masks, positions = frame_size(images), Masks(), {image.stem: t for t, image in enumerate(images)}
    for file in files:
        values = np.asarray(read_pixels(file))
        values = values.astype(np.uint8) if values.dtype == bool else values
        if values.ndim != 2 or values.shape != size:
            raise DataError(
                f'{file} is {values.shape}, but its image is {size} (height, width); masks must be palette or grey '
                'PNGs of the same size'
            )
        frame = positions[file.stem]
        if objects:
            label, _, number = file.parent.name.rpartition('_')
            label, number = (label, number) if label and number.isdecimal() else (file.parent.name, '')
            add(masks, (label, number), frame, encode(values > 0))
            continue
        for value in np.unique(values).tolist():
            if value != 0 and (value != VOID or np.iinfo(values.dtype).max > VOID):
                add(masks, ('object', value), frame, encode(values == value))
    if not masks:
        raise DataError(f'the masks in {masks_folder} have no object: 0 is background, and {VOID} is void')
    ordered = masks if objects else dict(sorted(masks.items(), key=lambda entry: entry[0][1]))
    return LabelledVideo(masks_folder.name, tuple(images), size, objects_of(ordered))
