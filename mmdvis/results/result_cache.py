"""Results of the frames of a video, kept compressed, so that a video is segmented once."""

import pickle
import tempfile
import threading
import zlib
from collections.abc import Iterator
from functools import partial

import numpy as np

from .frame_result import FrameResult, SegmentedObject, map_objects
from .video_results import decode_mask, encode_mask

FIELDS = ('id', 'label', 'name', 'score', 'is_thing')


class ResultCache:
    """Append-only list of frame results, in memory up to a limit and in an anonymous temporary file beyond it.

    Pictures are not kept. Maps are compressed without loss, masks of instances are kept as run lengths. Reading is
    thread-safe.

    Args:
        limit: Limit of the memory in bytes.
    """

    def __init__(self, limit: int = 1 << 24) -> None:
        self.file = tempfile.SpooledTemporaryFile(max_size=limit)
        self.lock = threading.Lock()
        self.offsets = [0]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def append(self, result: FrameResult) -> None:
        """Adds the result of the next frame."""
        content = zlib.compress(pickle.dumps(pack(result), protocol=5), 1)
        with self.lock:
            self.file.seek(self.offsets[-1])
            self.file.write(content)
            self.offsets.append(self.offsets[-1] + len(content))

    def __getitem__(self, index: int) -> FrameResult:
        if not 0 <= index < len(self):
            raise IndexError(f'frame {index} is not in the cache, which has {len(self)} frames')
        with self.lock:
            self.file.seek(self.offsets[index])
            content = self.file.read(self.offsets[index + 1] - self.offsets[index])
        return unpack(pickle.loads(zlib.decompress(content)))  # written by this process

    def __iter__(self) -> Iterator[FrameResult]:
        return (self[index] for index in range(len(self)))


def pack(result: FrameResult) -> tuple:
    """Picklable parts of a result: sizes and maps, object fields, and instance masks."""
    objects = [{name: getattr(segment, name) for name in FIELDS} for segment in result.objects]
    small = result.id_map
    if small is not None and small.max(initial=0) < 1 << 16:
        small = small.astype(np.uint16)
    masks = None
    if result.id_map is None and result.label_map is None:
        masks = [(segment.box, segment.area, encode_mask(segment.mask)) for segment in result.objects]
    return result.image_size, result.index, small, result.label_map, objects, masks


def unpack(content: tuple) -> FrameResult:
    """The result that :func:`pack` was given."""
    size, index, id_map, label_map, objects, masks = content
    if masks is not None:
        instances = (
            SegmentedObject(**fields, box=box, area=area, make_mask=partial(decode_mask, code))
            for fields, (box, area, code) in zip(objects, masks)
        )
        return FrameResult(tuple(instances), size, index=index)
    values = label_map if id_map is None else id_map.astype(np.int32)
    key = 'label' if id_map is None else 'id'
    found = map_objects(values, [dict(fields, value=fields[key]) for fields in objects])
    return FrameResult(found, size, None if id_map is None else values, label_map, index)
