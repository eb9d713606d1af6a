"""Reads image files, and says in one sentence what is wrong with one that cannot be read."""
import re
from pathlib import Path
from typing import List, Optional, Tuple, Union

import numpy as np
from PIL import Image

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff', '.ppm')


class DataError(ValueError):
    """Files of a dataset that cannot be used; the message names file, video and frame."""


def natural_key(name: Union[str, Path]) -> List[Union[int, str]]:
    """Sorts ``frame2`` before ``frame10``; of a path only the last part counts."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r'(\d+)', Path(name).name)]


def fault_of(path: Union[str, Path], error: Optional[BaseException] = None) -> str:
    """What is wrong with a file that could not be read, as the end of a sentence."""
    path = Path(path)
    if path.is_symlink() and not path.exists():
        return f'cannot be read as an image: it is a link to {path.readlink()}, which is not there; mend the link'
    if not path.exists():
        return 'cannot be read as an image: there is no such file; fetch or extract it again'
    if path.is_dir():
        return 'cannot be read as an image: it is a folder'
    if path.stat().st_size == 0:
        return 'cannot be read as an image: it is empty (0 bytes); fetch or extract it again'
    if isinstance(error, PermissionError):
        return 'cannot be read as an image: the permission is missing; change it with chmod'
    return f'cannot be read as an image ({error}); is it cut off? Replace or remove it'


def read_pixels(path: Union[str, Path], modes: Tuple[str, ...] = (), kinds: Tuple[str, ...] = ()) -> Image.Image:
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
                raise DataError(f'{path} is a {image.format} file; a mask must be {" or ".join(kinds)}, '
                                'because other kinds change values')
            if modes and image.mode not in modes:
                raise DataError(f'{path} is an image of mode {image.mode}; it must be {" or ".join(modes)}')
            image.load()
            return image
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's words for damage
        raise DataError(f'{path} {fault_of(path, error)}') from None


def read_image(path: Union[str, Path]) -> np.ndarray:
    """An image file as uint8 RGB (H, W, 3).

    Raises:
        DataError: the file is missing or no image that Pillow reads; names it.
    """
    return np.asarray(read_pixels(path).convert('RGB'))


def image_size(path: Union[str, Path]) -> Tuple[int, int]:
    """(height, width) of an image file from its header; raises DataError where there is none."""
    try:
        with Image.open(path) as image:
            return image.size[::-1]
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f'{path} {fault_of(path, error)}') from None
