"""Readers of the ground truth of a clip, which return index maps for all annotation formats.

A reader is created for the frames of one clip. It has the ``ids`` and ``labels`` (N,) of their objects, and
``layers(index)`` returns the index maps (H, W) of a frame, with value 0 for no object and n for the n-th object. A
frame has more than one map only if objects overlap.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmdvis.errors import DataError
from mmdvis.io import image_size, read_pixels
from mmdvis.io.rle import Mask, decode_into
from mmdvis.structures import VOID

Info = dict[str, Any]
SMALL_IDS = 254  # maximum number of objects in uint8, besides 0 and the index of ignored segments
NUM_PNG_COLOURS = 1 << 24


def read_id_map(path: str) -> np.ndarray:
    """Read the ids R + 256 G + 65536 B of a panoptic PNG, int32 (H, W).

    Raises:
        DataError: The file is missing, unreadable or not an RGB PNG.
    """
    rgba = np.asarray(read_pixels(path, modes=('RGB',), kinds=('PNG',)).convert('RGBA'))
    return (rgba.view('<u4')[..., 0] & 0xFFFFFF).astype(np.int32)


def index_type(number: int) -> type:
    """Smallest integer type for the indices of ``number`` objects and of ignored segments."""
    return np.uint8 if number <= SMALL_IDS else np.int32


def frame_location(info: Info, frame: dict) -> str:
    """Video and frame, for error messages."""
    return f'video {info["video_id"]}, frame {frame["name"]}'


def with_frame_location(info: Info, frame: dict, error: DataError) -> DataError:
    """Add video and frame to the message of an error, unless it contains them."""
    where = frame_location(info, frame)
    return error if where in str(error) else DataError(f'{where}: {error}')


class PanopticAnnotations:
    """RGB PNGs with a list of segments per frame in a JSON file (VIPSeg, VIPER, Cityscapes-VPS, COCO).

    Args:
        info: Record of the video, as returned by :meth:`ClipDataset.info_of`.
        indices: Frames of the clip.

    Attributes:
        info: Record of the video.
        ids: Segment id (N,) of each object.
        labels: Label (N,) of each object.
        mark: Index of ignored segments, which are crowds and segments of unused categories.
        table: Segment id -> index in the maps.

    Raises:
        DataError: The segments of a PNG and of the JSON file differ.
    """

    def __init__(self, info: Info, indices: Sequence[int]) -> None:
        self.info = info
        objects: dict[int, int] = {}
        ignored_ids: list[int] = []  # crowds and segments of unused categories
        for index in indices:
            frame = info['frames'][index]
            ignored_ids += frame['crowds']
            for number, category in reversed(frame['segments']):  # keeps the object order of the published toy results
                if category in info['labels']:
                    objects.setdefault(number, info['labels'][category])  # the first occurrence is used
                else:
                    ignored_ids.append(number)
        self.ids, self.labels = np.array(list(objects), np.int64), np.array(list(objects.values()), np.int64)
        self.mark = len(objects) + 1
        self.table = np.zeros(NUM_PNG_COLOURS, index_type(len(objects)))
        self.table[np.array(ignored_ids, np.int64)] = self.mark
        self.table[self.ids] = np.arange(1, len(objects) + 1)

    def layers(self, index: int) -> list[np.ndarray]:
        """Index map (H, W) of a frame, as a list of one map."""
        frame = self.info['frames'][index]
        ids = read_id_map(frame['mask'])
        index_map = self.table[ids]
        for number in frame['crowds']:
            if self.table[number] != self.mark:  # an object in another frame of the clip
                index_map[ids == number] = self.mark
        self.check(frame, ids, index_map)
        index_map[index_map == self.mark] = 0
        return [index_map]

    def check(self, frame: dict, ids: np.ndarray, found: np.ndarray) -> None:
        """Check the PNG of a frame against its list of segments.

        Args:
            frame: Record of the frame.
            ids: Ids of the PNG (H, W).
            found: Index map (H, W), with ``mark`` for ignored segments.

        Raises:
            DataError: The segments of the PNG and of the list differ.
        """
        where = f'{frame["mask"]}: {frame_location(self.info, frame)}'
        areas = np.bincount(found.ravel(), minlength=self.mark + 1)
        listed = {number for number, _ in frame['segments']} | set(frame['crowds'])
        if areas[0] != ids.size - np.count_nonzero(ids):
            unknown_ids = np.setdiff1d(np.unique(ids[found == 0]), [0])
            raise DataError(
                f'{where}: the PNG has the id {unknown_ids[0]}, which {self.info["origin"]} does not '
                'list for this frame'
            )
        for position in np.flatnonzero(areas[1 : self.mark]):
            if int(self.ids[position]) not in listed:
                raise DataError(
                    f'{where}: the PNG has the id {self.ids[position]}, which {self.info["origin"]} lists only for '
                    'other frames of the video'
                )
        for number, category in frame['segments']:
            if not areas[self.table[number]]:
                raise DataError(
                    f'{where}: {self.info["origin"]} lists the id {number} (category {category}), but the PNG has '
                    'no pixel of it'
                )


class SemanticAnnotations:
    """Greyscale PNGs of classes, each of which is one object.

    In VSPW, 0 and 255 are void and value v is category v - 1. Other datasets state ``void`` and ``first_value``, the
    value of category 0, in the record.

    Args:
        info: Record of the video, as returned by :meth:`ClipDataset.info_of`.
        indices: Frames of the clip.

    Attributes:
        info: Record of the video.
        ids: Mask value (N,) of each class.
        labels: Label (N,) of each class.
        table: Mask value -> index in the maps, 255 for invalid values.

    Raises:
        DataError: A mask has an invalid value.
    """

    def __init__(self, info: Info, indices: Sequence[int]) -> None:
        self.info = info
        categories = sorted(info['labels'], key=info['labels'].get)
        first, self.void = info.get('first_value', 1), info.get('void', (0, 255))
        values = [category + first for category in categories]
        self.ids = np.array([category + 1 for category in categories], np.int64)
        self.labels = np.array([info['labels'][category] for category in categories], np.int64)
        self.table = np.full(256, 255, np.uint8)
        self.table[list(self.void)] = 0
        self.table[values] = np.arange(1, len(categories) + 1)
        self.allowed = f'{min(values)} to {max(values)} (classes) and {", ".join(map(str, self.void))} (void)'

    def layers(self, index: int) -> list[np.ndarray]:
        """Index map (H, W) of a frame, as a list of one map."""
        frame = self.info['frames'][index]
        values = np.asarray(read_pixels(frame['mask'], modes=('L', 'P'), kinds=('PNG',)))
        index_map = self.table[values]
        if (index_map == 255).any():
            raise DataError(
                f'{frame["mask"]}: {frame_location(self.info, frame)}: the mask has the value '
                f'{values[index_map == 255][0]}; allowed are {self.allowed}'
            )
        return [index_map]


class ObjectPngAnnotations:
    """PNGs of DAVIS, in which 0 is the background and every other value an object of the only class.

    Args:
        info: Record of the video, as returned by :meth:`ClipDataset.info_of`. If ``merged``, all values are one object;
            else 255 is void.
        indices: Frames of the clip.

    Attributes:
        info: Record of the video.
        found: Values of the objects in the frames read so far.
    """

    def __init__(self, info: Info, indices: Sequence[int]) -> None:
        self.info, self.found = info, []

    @property
    def ids(self) -> np.ndarray:
        """Ids (N,) of the objects in the frames read so far."""
        return np.array(self.found, np.int64)

    @property
    def labels(self) -> np.ndarray:
        """Labels (N,) of the objects in the frames read so far."""
        return np.zeros(len(self.found), np.int64)

    def layers(self, index: int) -> list[np.ndarray]:
        """Index map (H, W) of a frame, as a list of one map."""
        image = read_pixels(self.info['frames'][index]['mask'], modes=('1', 'L', 'P'), kinds=('PNG',))
        values = np.asarray(image).astype(np.uint8)
        if self.info['merged']:
            void = VOID if image.mode == 'P' else 0
            values = ((values > 0) & (values != void)).astype(np.uint8)
        index_map = np.zeros(values.shape, np.uint8)
        for value in np.unique(values).tolist():
            if value in (0, VOID):
                continue
            if value not in self.found:
                self.found.append(value)
            index_map[values == value] = self.found.index(value) + 1
        return [index_map]


class InstancePngAnnotations:
    """16-bit PNGs of Cityscapes-VPS (``panoptic_inst``).

    The value is the category id for stuff, category id * 1000 + instance number for things, and 255 for void. The
    object ids are the values + 1, in the order in which ``layers`` reads them.

    Args:
        info: Record of the video, as returned by :meth:`ClipDataset.info_of`.
        indices: Frames of the clip.

    Attributes:
        info: Record of the video.
        found: Value -> (label, index in the maps) of the objects in the frames read so far.

    Raises:
        DataError: A mask has an invalid value.
    """

    def __init__(self, info: Info, indices: Sequence[int]) -> None:
        self.info, self.found = info, {}

    @property
    def ids(self) -> np.ndarray:
        """Ids (N,) of the objects in the frames read so far."""
        return np.array(list(self.found), np.int64) + 1

    @property
    def labels(self) -> np.ndarray:
        """Labels (N,) of the objects in the frames read so far."""
        return np.array([label for label, _ in self.found.values()], np.int64)

    def layers(self, index: int) -> list[np.ndarray]:
        """Index map (H, W) of a frame, as a list of one map."""
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
                    f'{frame["mask"]}: {frame_location(self.info, frame)}: the mask has the value {value}; allowed are '
                    'the ids of stuff, things as id * 1000 + number, and 255 (void)'
                )
            self.found.setdefault(value, (label, len(self.found) + 1))
        table = np.zeros(present[-1] + 1, index_type(len(self.found)))
        for value in present[present != 255].tolist():
            table[value] = self.found[value][1]
        return [table[values]]


def read_class_map(info: Info, frame: dict) -> np.ndarray:
    """Read a greyscale PNG of category ids (``labelmap`` of Cityscapes-VPS), where 255 is void.

    Args:
        info: Record of the video, as returned by :meth:`ClipDataset.info_of`.
        frame: Record of the frame, with the path ``semantic``.

    Returns:
        Class labels uint8 (H, W), ``VOID`` where unknown.

    Raises:
        DataError: The file is unreadable, or has a value that is no category.
    """
    values = np.asarray(read_pixels(frame['semantic'], modes=('L', 'P'), kinds=('PNG',)))
    table = np.full(256, -1, np.int16)
    table[VOID] = VOID
    for category, label in info['labels'].items():
        table[category] = label
    labels = table[values]
    if labels.min() < 0:
        raise DataError(
            f'{frame["semantic"]}: {frame_location(info, frame)}: the class map has the value '
            f'{values[labels < 0][0]}; allowed are the category ids and {VOID} (void)'
        )
    return labels.astype(np.uint8)


class TrackAnnotations:
    """Run-length masks or polygons of tracks (YouTube-VIS, OVIS, COCO); overlapping objects use additional maps.

    Args:
        info: Record of the video, as returned by :meth:`ClipDataset.info_of`.
        indices: Frames of the clip.

    Attributes:
        info: Record of the video.
        tracks: Tracks with a mask in a frame of the clip.
        ids: Track id (N,) of each object.
        labels: Label (N,) of each object.

    Raises:
        DataError: A mask does not have the size of the frame.
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
        """Index maps (H, W) of a frame; their number is the maximum number of objects at a pixel, at least 1."""
        frame, dtype = self.info['frames'][index], index_type(len(self.tracks))
        maps = [np.zeros(self.info['size'], dtype)]
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
    object_image=ObjectPngAnnotations,
    tracks=TrackAnnotations,
)


def layers_of(reader: Any, frame: dict, index: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Index maps (H, W) of a frame; one empty map of ``size`` (height, width) if the frame is not annotated.

    Args:
        reader: Reader of the ground truth.
        frame: Record of the frame.
        index: Index of the frame.
        size: (height, width) of the frame.
    """
    return reader.layers(index) if frame.get('annotated', True) else [np.zeros(size, np.uint8)]


def ids_and_labels_of(info: Info) -> tuple[np.ndarray, dict[int, int]]:
    """Ground truth of a whole video.

    Returns:
        Ids (T, H, W) int32, 0 for void; of overlapping objects, the first is used. Id -> class label of each object.
    """
    reader = ANNOTATION_READERS[info['truth']](info, range(len(info['frames'])))
    sizes = (image_size(frame['image']) if not frame.get('annotated', True) else (0, 0) for frame in info['frames'])
    layers = [layers_of(reader, frame, index, size) for index, (frame, size) in enumerate(zip(info['frames'], sizes))]
    ids = np.concatenate([[0], reader.ids]).astype(np.int32)
    frames = []
    for first, *others in layers:
        merged = ids[first]
        for layer in others:
            merged = np.where(merged == 0, ids[layer], merged)
        frames.append(merged)
    return np.stack(frames), dict(zip(reader.ids.tolist(), reader.labels.tolist()))
