"""Cut-outs of the things of a video."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from mmdvis.results import FrameResult

from .track_tables import things
from .video_info import VideoInfo


class Crops:
    """Writes ``crops/<class>_<id>/<frame>.png``: the pixels of each thing with its mask as transparency.

    Args:
        folder: Folder to write to.
        info: Name, size, timing and classes of the video.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self.folder, self.count = folder / 'crops', 0
        self.folder.mkdir()

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Writes the things of the next frame."""
        for segment in things(result):
            x1, y1, x2, y2 = segment.box
            opacity = (255 * segment.mask[y1:y2, x1:x2]).astype(np.uint8)
            pixels = np.concatenate([picture[y1:y2, x1:x2], opacity[..., None]], 2)
            folder = self.folder / f'{file_name(segment.name)}_{segment.id}'
            folder.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / f'{self.count:08d}.png')
        self.count += 1

    def close(self, is_complete: bool) -> None:
        """There is nothing to finish."""


def file_name(name: str) -> str:
    """A name with only letters, digits, ``-`` and ``_``."""
    return re.sub(r'[^\w-]+', '_', name).strip('_') or 'object'
