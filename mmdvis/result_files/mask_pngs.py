"""Maps of the frames as PNG files."""

from pathlib import Path

import numpy as np
from PIL import Image

from mmdvis.errors import BadInputError
from mmdvis.io import id_to_rgb, write_json
from mmdvis.results import ClassInfo, FrameResult, void_label

from .video_info import VideoInfo

DAVIS_OBJECTS = 255  # largest index in a palette PNG


def visible_ids(result: FrameResult) -> np.ndarray:
    """Ids (H, W) int32 of the visible objects, 0 is void; where instances overlap, the best one is visible."""
    if result.id_map is not None:
        return result.id_map
    return np.array([0, *(segment.id for segment in result.objects)], np.int32)[result.index_map()]


def category_map(label_map: np.ndarray, classes: ClassInfo) -> np.ndarray:
    """Category ids (H, W) uint8 or uint16 of a map of labels; pixels without a class get the largest value."""
    largest = max(classes.category_ids)
    dtype = np.uint8 if largest < 255 else np.uint16
    table = np.full(void_label(label_map) + 1, np.iinfo(dtype).max, dtype)
    table[: len(classes)] = classes.category_ids
    return table[label_map]


class MaskPngs:
    """Writes PNGs to ``panoptic/`` or ``instance/`` (id = R + 256 G + 65536 B) or ``semantic/`` (category ids).

    Args:
        folder: Folder to write to.
        info: Name, size, timing and classes of the video.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self.folder, self.classes, self.count = folder, info.classes, 0

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Writes the next frame."""
        if result.label_map is not None:
            name, pixels = 'semantic', category_map(result.label_map, self.classes)
        else:
            name = 'instance' if result.id_map is None else 'panoptic'
            pixels = id_to_rgb(visible_ids(result))
        (self.folder / name).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(self.folder / name / f'{self.count:08d}.png')
        self.count += 1

    def close(self, is_complete: bool) -> None:
        """There is nothing to finish."""


def davis_palette() -> list[int]:
    """The colours of DAVIS and PASCAL VOC: bit k of each channel comes from bits 3 k, 3 k + 1 and 3 k + 2."""
    indices = np.arange(256)
    channels = [sum(((indices >> (3 * k + c)) & 1) << (7 - k) for k in range(8)) for c in range(3)]
    return np.stack(channels, 1).astype(np.uint8).ravel().tolist()


class DavisPngs:
    """Writes ``davis/``: palette PNGs of the things, numbered in the order of appearance, and ``objects.json``.

    Args:
        folder: Folder to write to.
        info: Name, size, timing and classes of the video.

    Raises:
        BadInputError: The video has more objects than a palette (when the frame is written).
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self.folder, self.info, self.count = folder / 'davis', info, 0
        self.numbers: dict[int, int] = {}
        self.names: dict[int, str] = {}
        self.palette = davis_palette()
        self.folder.mkdir()

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Writes the next frame."""
        table = np.zeros(len(result.objects) + 1, np.uint8)
        for k, segment in enumerate(result.objects, 1):
            if segment.is_thing or result.label_map is not None:
                number = self.numbers.setdefault(segment.id, len(self.numbers) + 1)
                if number > DAVIS_OBJECTS:
                    raise BadInputError(
                        f'{self.info.name} has more than {DAVIS_OBJECTS} objects, which palette PNGs cannot number; '
                        'save masks instead of davis, or fewer classes'
                    )
                table[k], self.names[number] = number, segment.name
        image = Image.fromarray(table[result.index_map()]).convert('P')
        image.putpalette(self.palette)
        image.save(self.folder / f'{self.count:05d}.png')
        self.count += 1

    def close(self, is_complete: bool) -> None:
        """Writes which identity and class each number has."""
        if is_complete:
            objects = [dict(number=n, id=i, category=self.names[n]) for i, n in self.numbers.items()]
            write_json(self.folder / 'objects.json', objects)
