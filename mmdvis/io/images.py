"""Reads image files and describes why a file cannot be read."""

import os
import re
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from mmdvis.errors import DataError, UnreadableImageError

MAX_PIXELS = 1 << 26  # of a frame, 8192 x 8192; larger ones need gigabytes in the models
IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm')

TURNED = (5, 6, 7, 8)  # orientations of EXIF that swap width and height
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


def read_pixels(
    path: str | Path, modes: tuple[str, ...] = (), kinds: tuple[str, ...] = (), max_edge: int | None = None
) -> Image.Image:
    """Decodes an image file.

    Args:
        path: Path of the file.
        modes: Allowed Pillow modes; empty: any.
        kinds: Allowed file formats in Pillow's naming (``'PNG'``); empty: any.
        max_edge: Longer edge in pixels to which larger images are reduced, JPEG files while they are decoded.

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
            width, height = image.size
            if max_edge is None and width * height > MAX_PIXELS:
                raise UnreadableImageError(
                    f'{path} is {(height, width)} (height, width); frames of at most {MAX_PIXELS} pixels are read, so '
                    'make it smaller'
                )
            if max_edge is not None and max(image.size) > max_edge:
                image.thumbnail((max_edge, max_edge))
            image.load()
            return image
    except DataError:
        raise
    except READ_ERRORS as error:
        raise UnreadableImageError(f'{path} {describe_unreadable(path, error)}') from None


def read_image(path: str | Path, max_edge: int | None = None, upright: bool = False) -> np.ndarray:
    """Image file as uint8 RGB (H, W, 3).

    Transparent pixels are shown on white. Values of 16 bits are scaled to 8 bits.

    Args:
        path: Path of the file.
        max_edge: Longer edge in pixels to which larger images are reduced; None keeps the size.
        upright: Whether to apply the orientation of EXIF, as viewers do. Datasets are annotated without it.

    Raises:
        DataError: The file is missing, cannot be read by Pillow, or its values have no defined range.
    """
    image = read_pixels(path, max_edge=max_edge)
    if upright:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith('I;16'):
        grey = (np.asarray(image).astype(np.float32) / 257 + 0.5).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ('I', 'F'):
        raise UnreadableImageError(
            f'{path} has {"integers" if image.mode == "I" else "floating point numbers"} of 32 bits, whose range is '
            'not defined; convert it to 8 or 16 bits per channel'
        )
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image.convert('RGBA'))
    return np.asarray(image.convert('RGB'))


def image_size(path: str | Path, upright: bool = False) -> tuple[int, int]:
    """(height, width) of an image file, read from its header.

    Args:
        path: Path of the file.
        upright: Whether to apply the orientation of EXIF.

    Raises:
        DataError: The file is missing or cannot be read by Pillow.
    """
    try:
        with Image.open(path) as image:
            has_header = image.format != 'PNG' or 'exif' in image.info  # of other PNGs, Pillow would decode all pixels
            orientation = image.getexif().get(ExifTags.Base.Orientation) if upright and has_header else None
            return image.size if orientation in TURNED else image.size[::-1]
    except READ_ERRORS as error:
        raise DataError(f'{path} {describe_unreadable(path, error)}') from None
