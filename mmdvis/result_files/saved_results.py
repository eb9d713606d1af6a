"""Reads the results, or the ground truth, of a video from files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmdvis.checks import path_inside
from mmdvis.errors import BadInputError
from mmdvis.io import read_pixels
from mmdvis.results import ClassInfo, FrameResult, SegmentedObject, decode_mask, label_dtype
from mmdvis.results.class_info import class_colour
from mmdvis.results.frame_result import map_objects


class SavedResults:
    """Results of the frames of a video, read from ``result.json`` and the masks beside it, frame by frame.

    Args:
        folder: Folder with ``result.json`` and ``panoptic/`` or ``semantic/``; for instances, the json is enough.

    Attributes:
        classes: Classes of the results.
        size: (height, width) of the frames.

    Raises:
        BadInputError: The folder contains no complete results.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            content = json.loads((self.folder / 'result.json').read_text())
            self.frames, categories = content['frames'], content['categories']
            self.size, self.masks = tuple(content['size']), content['masks']
        except (OSError, ValueError, KeyError) as error:
            raise BadInputError(
                f'{folder} contains no complete result.json ({error}); give the folder of a video that '
                '`mmdvis run --save json masks` wrote'
            ) from None
        has_maps = any(frame.get('file_name') for frame in self.frames if isinstance(frame, dict))
        if has_maps and not (self.folder / str(self.masks)).is_dir():
            raise BadInputError(
                f'{folder} has result.json, but not the folder {self.masks} with the masks; write the results with '
                '`mmdvis run --save json masks`'
            )
        self.classes = ClassInfo(
            tuple(entry['name'] for entry in categories),
            tuple(bool(entry['isthing']) for entry in categories),
            tuple(entry['id'] for entry in categories),
            tuple(tuple(entry['color']) for entry in categories),
        )
        self.labels = self.classes.labels

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> FrameResult:
        with faults_named(f'{self.folder / "result.json"}, frame {index}'):
            return self.result(self.frames[index], index)

    def result(self, frame: dict, index: int) -> FrameResult:
        """The result of a frame from its entry."""
        labels = self.labels
        entries = [
            dict(
                id=entry['id'],
                label=labels[entry['category_id']],
                name=entry['category'],
                score=entry['score'],
                is_thing=entry['isthing'],
            )
            for entry in frame['segments_info']
        ]
        if frame['file_name'] is None:
            return self.instances(frame, entries)
        path = path_inside(self.folder / self.masks, frame['file_name'], links=True)
        pixels = np.asarray(read_pixels(path, kinds=('PNG',))).astype(np.int32)
        if self.masks == 'semantic':
            dtype = np.dtype(label_dtype(len(labels)))
            table = np.full(pixels.max() + 1, np.iinfo(dtype).max, dtype)
            table[[number for number in labels if number < len(table)]] = [
                label for number, label in labels.items() if number < len(table)
            ]
            label_map = table[pixels]
            objects = map_objects(label_map, [dict(entry, value=entry['label']) for entry in entries])
            return FrameResult(objects, (label_map.shape[0], label_map.shape[1]), label_map=label_map, index=index)
        return panoptic_result(pixels, entries, index)

    def instances(self, frame: dict, entries: list[dict]) -> FrameResult:
        """The result of a frame whose masks are part of the json."""
        objects = []
        for entry, saved in zip(entries, frame['segments_info']):
            x, y, width, height = saved['bbox']
            code = saved['segmentation']
            box, area = (x, y, x + width, y + height), saved['area']
            objects.append(SegmentedObject(**entry, box=box, area=area, make_mask=partial(decode_mask, code)))
        return FrameResult(tuple(objects), self.size, index=frame['frame'])


class PanopticGroundTruth:
    """Ground truth of one video in the layout of VIPSeg: a json, and PNGs in ``panomasksRGB/<video>/`` beside it.

    Args:
        path: Path of the json.
        video: Name of the video.

    Attributes:
        classes: Classes of the json, things first.

    Raises:
        BadInputError: The file is not such a json, or does not contain the video.
    """

    def __init__(self, path: str | Path, video: str) -> None:
        self.path, self.folder = Path(path), Path(path).parent / 'panomasksRGB' / video
        try:
            content = json.loads(Path(path).read_text())
            found = {entry['video_id']: entry['annotations'] for entry in content['annotations']}
            categories = sorted(content['categories'], key=lambda entry: (not entry['isthing'], entry['id']))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInputError(f'{path} is not a VIPSeg-style panoptic ground-truth JSON ({error})') from None
        if video not in found:
            shown = ', '.join(list(found)[:5])
            raise BadInputError(
                f'{path} has no video {video}; it has {shown}, ... and the name must be that of the source'
            )
        self.frames = found[video]
        self.classes = ClassInfo(
            tuple(entry['name'] for entry in categories),
            tuple(bool(entry['isthing']) for entry in categories),
            tuple(entry['id'] for entry in categories),
            tuple(tuple(entry.get('color') or class_colour(label)) for label, entry in enumerate(categories)),
        )
        self.labels = self.classes.labels

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> FrameResult:
        frame, entries = self.frames[index], []
        with faults_named(f'{self.path}, video {self.folder.name}, frame {index}'):
            path = self.folder / Path(frame['file_name']).with_suffix('.png').name
            for entry in frame['segments_info']:
                label = self.labels[entry['category_id']]
                name, is_thing = self.classes.names[label], self.classes.is_thing[label]
                entries.append(dict(id=entry['id'], label=label, name=name, score=None, is_thing=is_thing))
        return panoptic_result(np.asarray(read_pixels(path, kinds=('PNG',)).convert('RGB')), entries, index)


@contextmanager
def faults_named(where: str) -> Iterator[None]:
    """Turns a missing field or an unknown category into a BadInputError that names the frame."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInputError(
            f'{where}: an object lacks a field, or its category is not in the list of categories ({error}); write the '
            'file again'
        ) from None


def panoptic_result(pixels: np.ndarray, entries: list[dict[str, Any]], index: int) -> FrameResult:
    """The result of a frame from its ids as colours (H, W, 3) and the fields of its objects."""
    values = pixels.astype(np.int32)
    id_map = values[..., 0] + (values[..., 1] << 8) + (values[..., 2] << 16)
    objects = map_objects(id_map, [dict(entry, value=entry['id']) for entry in entries])
    return FrameResult(objects, id_map.shape, id_map=id_map, index=index)


def read_saved(path: str | Path, video: str) -> SavedResults | PanopticGroundTruth:
    """Results from a folder that mmdvis wrote, or ground truth from a VIPSeg-style JSON file.

    Args:
        path: Folder or json.
        video: Name of the video in the json.

    Raises:
        BadInputError: The path is neither, or contains no results of this video.
    """
    return PanopticGroundTruth(path, video) if Path(path).suffix == '.json' else SavedResults(path)
