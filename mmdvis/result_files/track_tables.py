"""Tables with one line for each object in each frame."""

import csv
from pathlib import Path

import numpy as np

from mmdvis.results import FrameResult, SegmentedObject, encode_mask

from .video_info import VideoInfo

COLUMNS = ('frame', 'time', 'id', 'category_id', 'category', 'score', 'x1', 'y1', 'x2', 'y2', 'area')
MOTS_INSTANCES = 1000  # MOTS numbers an object as class * 1000 + instance


def things(result: FrameResult) -> list[SegmentedObject]:
    """The countable objects of a frame."""
    return [] if result.label_map is not None else [segment for segment in result.objects if segment.is_thing]


class TrackCsv:
    """Writes ``tracks.csv`` with all objects and regions; frames count from 0, times are seconds, boxes pixels.

    Args:
        folder: Folder to write to.
        info: Name, size, timing and classes of the video.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self.info, self.count = info, 0
        self.file = open(folder / 'tracks.csv', 'w', newline='')
        self.table = csv.writer(self.file)
        self.table.writerow(COLUMNS)

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Adds the objects of the next frame."""
        for segment in result.objects:
            score = '' if segment.score is None else round(segment.score, 4)
            category = (self.info.classes.category_ids[segment.label], segment.name)
            time = round(self.info.time(self.count), 4)
            self.table.writerow((self.count, time, segment.id, *category, score, *segment.box, segment.area))
        self.count += 1

    def close(self, is_complete: bool) -> None:
        """Finishes the file."""
        self.file.close()


class MotText:
    """Writes ``mot.txt`` in the format of MOTChallenge: boxes of things, frames count from 1.

    Args:
        folder: Folder to write to.
        info: Name, size, timing and classes of the video.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self.count, self.file = 0, open(folder / 'mot.txt', 'w')

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Adds the objects of the next frame."""
        self.count += 1
        for segment in things(result):
            x1, y1, x2, y2 = segment.box
            score = 1.0 if segment.score is None else round(segment.score, 4)
            self.file.write(f'{self.count},{segment.id},{x1 + 1},{y1 + 1},{x2 - x1},{y2 - y1},{score},-1,-1,-1\n')

    def close(self, is_complete: bool) -> None:
        """Finishes the file."""
        self.file.close()


class MotsText:
    """Writes ``mots.txt`` in the format of KITTI MOTS: masks of things that do not overlap, frames count from 0.

    An object is numbered ``category_id * 1000 + k``, where ``k`` counts the objects of the class from 0.

    Args:
        folder: Folder to write to.
        info: Name, size, timing and classes of the video.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self.info, self.count, self.file = info, 0, open(folder / 'mots.txt', 'w')
        self.numbers: dict[int, dict[int, int]] = {}

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Adds the objects of the next frame."""
        index = result.index_map()
        for k, segment in enumerate(result.objects, 1):
            mask = index == k
            if not segment.is_thing or result.label_map is not None or not mask.any():
                continue
            category = self.info.classes.category_ids[segment.label]
            known = self.numbers.setdefault(category, {})
            number = category * MOTS_INSTANCES + known.setdefault(segment.id, len(known))
            height, width = mask.shape
            self.file.write(f'{self.count} {number} {category} {height} {width} {encode_mask(mask)["counts"]}\n')
        self.count += 1

    def close(self, is_complete: bool) -> None:
        """Finishes the file."""
        self.file.close()
