"""Reader of the text format of MOTS."""

from pathlib import Path

from mmdvis.errors import DataError
from mmdvis.io.rle import compress

from .videos import LabelledVideo, Masks, add, frame_size, images_in, objects_of, video_folders

IGNORED = 10  # class of regions without labels in MOTS
MOTS_CLASSES = {1: 'car', 2: 'pedestrian'}


def read_mots(root: Path) -> list[LabelledVideo]:
    """Videos in the text format of MOTS: folders with images and ``gt.txt``, or ``img1`` and ``gt/gt.txt``.

    A line has the frame (the number of its image), the id of the object, its class, height and width, and the mask as
    run lengths. Regions of class 10 are ignored.

    Args:
        root: Folder of a video, or of several.

    Raises:
        DataError: A file is missing or malformed, with its line and what is wrong.
    """
    return [mots_video(folder, path) for folder, path in video_folders(root, 'gt.txt', 'gt/gt.txt')]


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
