"""The objects of a clip as maps of indices, from whatever the official files hold.

A reader is made for the frames of one clip. It knows the ``ids`` and ``labels`` (N,) of their objects, and ``layers(index)``
gives a frame's maps (H, W): 0 where no object is, n where the n-th is. One map is enough unless objects overlap.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmdvis.errors import DataError
from mmdvis.io import read_pixels
from mmdvis.io.rle import Mask, decode_into

Info = dict[str, Any]
SMALL_IDS = 254  # objects that fit into uint8 beside 0 and the mark
NUM_PNG_COLOURS = 1 << 24


def read_id_map(path: str) -> np.ndarray:
    """A panoptic PNG as ids (H, W) int32: R + 256 G + 65536 B; raises DataError where it is none."""
    rgba = np.asarray(read_pixels(path, modes=('RGB',), kinds=('PNG',)).convert('RGBA'))
    return (rgba.view('<u4')[..., 0] & 0xFFFFFF).astype(np.int32)


def index_type(number: int) -> type:
    """The smallest type for indices of so many objects and one mark."""
    return np.uint8 if number <= SMALL_IDS else np.int32


def frame_location(info: Info, frame: dict) -> str:
    """Video and frame, for messages."""
    return f'video {info["video_id"]}, frame {frame["name"]}'


def with_frame_location(info: Info, frame: dict, error: DataError) -> DataError:
    """The error with video and frame in its message."""
    where = frame_location(info, frame)
    return error if where in str(error) else DataError(f'{where}: {error}')


class PanopticAnnotations:
    """RGB PNGs with the json's list of segments for each frame (VIPSeg, VIPER, Cityscapes-VPS, COCO).

    Raises:
        DataError: json and PNG of a frame disagree about who is there.
    """

    def __init__(self, info: Info, indices: Sequence[int]) -> None:
        self.info = info
        objects: dict[int, int] = {}
        others: list[int] = []  # crowds, and what a class map leaves out
        for index in indices:
            frame = info['frames'][index]
            others += frame['crowds']
            for number, category in reversed(frame['segments']):  # the order in which the toy figures were measured
                if category in info['labels']:
                    objects.setdefault(number, info['labels'][category])  # the first mention wins
                else:
                    others.append(number)
        self.ids, self.labels = np.array(list(objects), np.int64), np.array(list(objects.values()), np.int64)
        self.mark = len(objects) + 1
        self.table = np.zeros(NUM_PNG_COLOURS, index_type(len(objects)))
        self.table[np.array(others, np.int64)] = self.mark
        self.table[self.ids] = np.arange(1, len(objects) + 1)

    def layers(self, index: int) -> list[np.ndarray]:
        """One map."""
        frame = self.info['frames'][index]
        ids = read_id_map(frame['mask'])
        found = self.table[ids]
        for number in frame['crowds']:
            if self.table[number] != self.mark:  # an object in another frame of the clip
                found[ids == number] = self.mark
        self.check(frame, ids, found)
        found[found == self.mark] = 0
        return [found]

    def check(self, frame: dict, ids: np.ndarray, found: np.ndarray) -> None:
        """Compares the PNG with the list of its frame."""
        where = f'{frame["mask"]}: {frame_location(self.info, frame)}'
        areas = np.bincount(found.ravel(), minlength=self.mark + 1)
        listed = {number for number, _ in frame['segments']} | set(frame['crowds'])
        if areas[0] != ids.size - np.count_nonzero(ids):
            unknown = np.setdiff1d(np.unique(ids[found == 0]), [0])
            raise DataError(
                f'{where}: the PNG has the id {unknown[0]}, which {self.info["origin"]} does not list for it'
            )
        for position in np.flatnonzero(areas[1 : self.mark]):
            if int(self.ids[position]) not in listed:
                raise DataError(
                    f'{where}: the PNG has the id {self.ids[position]}, which {self.info["origin"]} lists for '
                    'other frames of the video but not for it'
                )
        for number, category in frame['segments']:
            if not areas[self.table[number]]:
                raise DataError(
                    f'{where}: {self.info["origin"]} lists the id {number} (category {category}), but the PNG has '
                    'no such pixel'
                )


class SemanticAnnotations:
    """Grey PNGs of VSPW: 0 and 255 are void, value v is category v - 1; each class is one object.

    Raises:
        DataError: a value is no category.
    """

    def __init__(self, info: Info, indices: Sequence[int]) -> None:
        self.info = info
        categories = sorted(info['labels'], key=info['labels'].get)
        self.ids = np.array([category + 1 for category in categories], np.int64)
        self.labels = np.array([info['labels'][category] for category in categories], np.int64)
        self.table = np.full(256, 255, np.uint8)
        self.table[[0, 255]] = 0
        self.table[self.ids] = np.arange(1, len(categories) + 1)

    def layers(self, index: int) -> list[np.ndarray]:
        """One map."""
        frame = self.info['frames'][index]
        values = np.asarray(read_pixels(frame['mask'], modes=('L', 'P'), kinds=('PNG',)))
        found = self.table[values]
        if (found == 255).any():
            raise DataError(
                f'{frame["mask"]}: {frame_location(self.info, frame)}: the mask has the value '
                f'{values[found == 255][0]}; allowed are 0 (void), 1 to {self.ids.max()} (category + 1) and 255'
            )
        return [found]


class InstancePngAnnotations:
    """16-bit PNGs of Cityscapes-VPS (``panoptic_inst``): stuff is its category, a thing category * 1000 + n, 255 is void.

    Ids are the values + 1, in the order in which ``layers`` met them. Raises DataError where a value is none of these.
    """

    def __init__(self, info: Info, indices: Sequence[int]) -> None:
        self.info, self.found = info, {}

    @property
    def ids(self) -> np.ndarray:
        """(N,) of the frames read so far."""
        return np.array(list(self.found), np.int64) + 1

    @property
    def labels(self) -> np.ndarray:
        """(N,) of the frames read so far."""
        return np.array([label for label, _ in self.found.values()], np.int64)

    def layers(self, index: int) -> list[np.ndarray]:
        """One map."""
        frame = self.info['frames'][index]
        values = np.asarray(read_pixels(frame['mask'], modes=('I', 'I;16', 'I;16B', 'L'), kinds=('PNG',))).astype(
            np.int32
        )
        labels, num_things = self.info['labels'], self.info['num_things']
        present = np.unique(values)
        for value in present[present != 255].tolist():
            label = labels.get(value // 1000 if value >= 1000 else value)
            if label is None or (value >= 1000) != (label < num_things):
                raise DataError(
                    f'{frame["mask"]}: {frame_location(self.info, frame)}: the mask has the value {value}; allowed are the '
                    'ids of stuff, things as id * 1000 + number, and 255 (void)'
                )
            self.found.setdefault(value, (label, len(self.found) + 1))
        table = np.zeros(present[-1] + 1, index_type(len(self.found)))
        for value in present[present != 255].tolist():
            table[value] = self.found[value][1]
        return [table[values]]


class TrackAnnotations:
    """Run-length masks or polygons of tracks (YouTube-VIS, OVIS, COCO); objects that overlap go to further maps.

    Raises:
        DataError: a mask does not fit the frame.
    """

    def __init__(self, info: Info, indices: Sequence[int]) -> None:
        self.info = info
        self.tracks = [
            track
            for track in info['tracks']
            if track['category'] in info['labels'] and any(track['masks'][index] is not None for index in indices)
        ]
        self.ids = np.array([track['id'] for track in self.tracks], np.int64)
        self.labels = np.array([info['labels'][track['category']] for track in self.tracks], np.int64)

    def layers(self, index: int) -> list[np.ndarray]:
        """As many maps as objects lie above each other at a pixel."""
        frame, kind = self.info['frames'][index], index_type(len(self.tracks))
        maps = [np.zeros(self.info['size'], kind)]
        for number, track in enumerate(self.tracks, 1):
            mask: Mask = track['masks'][index]
            if mask is not None:
                where = f'{self.info["origin"]}: {frame_location(self.info, frame)}, track {track["annotation"]}'
                decode_into(maps, mask, tuple(self.info['size']), number, where)
        return maps


ANNOTATION_READERS = dict(
    panoptic=PanopticAnnotations,
    semantic=SemanticAnnotations,
    instance_image=InstancePngAnnotations,
    tracks=TrackAnnotations,
)


def id_maps_of(info: Info) -> np.ndarray:
    """The true ids (T, H, W) int32 of a whole video, 0 is void; where objects overlap, the first wins."""
    reader = ANNOTATION_READERS[info['truth']](info, range(len(info['frames'])))
    ids = np.concatenate([[0], reader.ids]).astype(np.int32)
    frames = []
    for index in range(len(info['frames'])):
        layers = reader.layers(index)
        merged = ids[layers[0]]
        for layer in layers[1:]:
            merged = np.where(merged == 0, ids[layer], merged)
        frames.append(merged)
    return np.stack(frames)


def labels_of(info: Info) -> dict[int, int]:
    """Id -> label of the objects of a whole video."""
    reader = ANNOTATION_READERS[info['truth']](info, range(len(info['frames'])))
    return dict(zip(reader.ids.tolist(), reader.labels.tolist()))
