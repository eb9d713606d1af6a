"""Reads image files, and says in one sentence what is wrong with one that cannot be read."""

import os
import re
from pathlib import Path

import numpy as np
from PIL import Image

from mmdvis.errors import DataError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm')

READ_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # Pillow's words for it


def natural_key(name: str | Path) -> list[int | str]:
    """Sorts ``frame2`` before ``frame10``; of a path only the last part counts."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r'(\d+)', Path(name).name)]


def describe_unreadable(path: str | Path, error: BaseException | None = None) -> str:
    """What is wrong with a file that could not be read, as the end of a sentence."""
    if isinstance(error, PermissionError):
        return 'cannot be read as an image: the permission is missing; change it with chmod'
    if os.path.islink(path) and not os.path.exists(path):
        return f'cannot be read as an image: it is a link to {os.readlink(path)}, which is not there; mend the link'
    if not os.path.exists(path):
        return 'cannot be read as an image: there is no such file; fetch or extract it again'
    if os.path.isdir(path):
        return 'cannot be read as an image: it is a folder'
    if os.path.getsize(path) == 0:
        return 'cannot be read as an image: it is empty (0 bytes); fetch or extract it again'
    return f'cannot be read as an image ({error}); is it cut off? Replace or remove it'


def read_pixels(path: str | Path, modes: tuple[str, ...] = (), kinds: tuple[str, ...] = ()) -> Image.Image:
    """An image file, decoded.

    Args:
        path: the file.
        modes: of Pillow, one of which it must have; empty: any.
        kinds: of files, as Pillow names them (``'PNG'``); empty: any.

    Raises:
        DataError: the file is missing, damaged, or of another mode or kind; names it.
    """
    try:
        with Image.open(path) as image:
            if kinds and image.format not in kinds:
                raise DataError(
                    f'{path} is a {image.format} file; a mask must be {" or ".join(kinds)}, '
                    'because other kinds change values'
                )
            if modes and image.mode not in modes:
                raise DataError(f'{path} is an image of mode {image.mode}; it must be {" or ".join(modes)}')
            image.load()
            return image
    except DataError:
        raise
    except READ_ERRORS as error:
        raise DataError(f'{path} {describe_unreadable(path, error)}') from None


def read_image(path: str | Path) -> np.ndarray:
    """An image file as uint8 RGB (H, W, 3).

    Raises:
        DataError: the file is missing or no image that Pillow reads; names it.
    """
    return np.asarray(read_pixels(path).convert('RGB'))


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of an image file from its header; raises DataError where there is none."""
    try:
        with Image.open(path) as image:
            return image.size[::-1]
    except READ_ERRORS as error:
        raise DataError(f'{path} {describe_unreadable(path, error)}') from None
