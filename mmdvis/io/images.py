"""Reads image files and describes why a file cannot be read."""

import os
import re
from pathlib import Path

import numpy as np
from PIL import Image

from mmdvis.errors import DataError, UnreadableImageError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm')

READ_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # raised by Pillow


def natural_key(name: str | Path) -> list[int | str]:
    """Sort key that orders ``frame2`` before ``frame10``; only the last part of a path is used."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r'(\d+)', Path(name).name)]


def describe_unreadable(path: str | Path, error: BaseException | None = None) -> str:
    """Reason why a file cannot be read, as the end of a sentence."""
    if isinstance(error, PermissionError):
        return 'cannot be read as an image: permission denied; change the permissions with chmod'
    if os.path.islink(path) and not os.path.exists(path):
        return f'cannot be read as an image: it is a broken symbolic link to {os.readlink(path)}; fix the link'
    if not os.path.exists(path):
        return 'cannot be read as an image: there is no such file; download or extract it again'
    if os.path.isdir(path):
        return 'cannot be read as an image: it is a folder'
    if os.path.getsize(path) == 0:
        return 'cannot be read as an image: it is empty (0 bytes); download or extract it again'
    return f'cannot be read as an image ({error}); is it cut off? Replace or remove it'


def read_pixels(path: str | Path, modes: tuple[str, ...] = (), kinds: tuple[str, ...] = ()) -> Image.Image:
    """Decodes an image file.

    Args:
        path: Path of the file.
        modes: Allowed Pillow modes; empty: any.
        kinds: Allowed file formats in Pillow's naming (``'PNG'``); empty: any.

    Raises:
        DataError: The file is missing, damaged, or has another mode or format.
    """
    try:
        with Image.open(path) as image:
            if kinds and image.format not in kinds:
                raise DataError(
                    f'{path} is a {image.format} file; a mask must be {" or ".join(kinds)}, '
                    'because other formats may change the values'
                )
            if modes and image.mode not in modes:
                raise UnreadableImageError(f'{path} is an image of mode {image.mode}; it must be {" or ".join(modes)}')
            image.load()
            return image
    except DataError:
        raise
    except READ_ERRORS as error:
        raise UnreadableImageError(f'{path} {describe_unreadable(path, error)}') from None


def read_image(path: str | Path) -> np.ndarray:
    """Image file as uint8 RGB (H, W, 3).

    Raises:
        DataError: The file is missing or cannot be read by Pillow.
    """
    return np.asarray(read_pixels(path).convert('RGB'))


def image_size(path: str | Path) -> tuple[int, int]:
    """(height, width) of an image file, read from its header.

    Raises:
        DataError: The file is missing or cannot be read by Pillow.
    """
    try:
        with Image.open(path) as image:
            return image.size[::-1]
    except READ_ERRORS as error:
        raise DataError(f'{path} {describe_unreadable(path, error)}') from None
