"""Readers of the PNGs of benchmarks: ids and labels."""

from pathlib import Path

import numpy as np
from PIL import Image

from mmdvis.errors import BadInputError


def read_ids(path: Path) -> np.ndarray:
    """Ids (H, W) uint32 of a panoptic PNG; raises BadInputError if it is missing, damaged, or not RGB."""
    image = read_png(path, ('RGB',), 'a panoptic PNG must be RGB with id = R + 256 G + 65536 B')
    return np.asarray(image.convert('RGBA')).view('<u4')[..., 0] & 0xFFFFFF


def read_png(path: Path, modes: tuple[str, ...], requirement: str) -> Image.Image:
    """A decoded PNG.

    Args:
        path: Path of the file.
        modes: Allowed Pillow modes.
        requirement: What the file must be, for the error message.

    Raises:
        BadInputError: The file is missing, damaged, or of another mode.
    """
    if not path.is_file():
        raise BadInputError(f'the PNG {path} does not exist')
    try:
        with Image.open(path) as image:
            if image.format != 'PNG':
                raise BadInputError(
                    f'{path} is a {image.format} file; it must be a PNG, because other formats may change the values'
                )
            if image.mode not in modes:
                raise BadInputError(f'{path} is a PNG of mode {image.mode}; {requirement}')
            image.load()
            return image
    except BadInputError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # raised by Pillow
        raise BadInputError(f'{path} is not a readable PNG: {error}') from None


def read_labels(path: Path) -> np.ndarray:
    """Labels (H, W) uint8 of an 8-bit greyscale or palette PNG; raises BadInputError for other or damaged files."""
    return np.asarray(read_png(path, ('L', 'P'), 'a label map must be 8-bit greyscale'))
