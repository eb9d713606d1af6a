"""A json that lists the objects of every frame."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from mmdvis.results import ClassInfo, FrameResult, SegmentedObject, encode_mask

from .video_info import VideoInfo


def object_info(segment: SegmentedObject, classes: ClassInfo, with_mask: bool) -> dict[str, Any]:
    """The json entry of an object; ``with_mask`` adds its mask as COCO run lengths."""
    x1, y1, x2, y2 = segment.box
    info: dict[str, Any] = dict(
        id=segment.id,
        category_id=classes.category_ids[segment.label],
        category=segment.name,
        isthing=segment.is_thing,
        score=None if segment.score is None else round(segment.score, 4),
        bbox=[x1, y1, x2 - x1, y2 - y1],
        area=segment.area,
    )
    if with_mask:
        info['segmentation'] = encode_mask(segment.mask)
    return info


def categories(classes: ClassInfo) -> list[dict[str, Any]]:
    """The classes in the format of COCO panoptic."""
    columns = zip(classes.category_ids, classes.names, classes.is_thing, classes.palette)
    return [
        dict(id=number, name=name, isthing=int(is_thing), color=list(colour))
        for number, name, is_thing, colour in columns
    ]


class FrameJson:
    """Writes ``result.json``; masks of instances, which may overlap, are part of it as COCO run lengths.

    Args:
        folder: Folder to write to.
        info: Name, size, timing and classes of the video.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self.info, self.count = info, 0
        self.masks = 'instance'  # kind of the masks
        self.file = open(folder / 'result.json', 'w')
        head = dict(fps=info.fps, classes=list(info.classes.names), categories=categories(info.classes))
        self.file.write(json.dumps(head)[:-1] + ', "frames": [\n')

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Adds the next frame."""
        is_instance = result.id_map is None and result.label_map is None
        if not is_instance:
            self.masks = 'panoptic' if result.label_map is None else 'semantic'
        infos = [object_info(segment, self.info.classes, is_instance) for segment in result.objects]
        name = None if is_instance else f'{self.count:08d}.png'
        entry = dict(frame=self.count, time=round(self.info.time(self.count), 4), file_name=name, segments_info=infos)
        self.file.write(',\n' * (self.count > 0) + json.dumps(entry))
        self.count += 1

    def close(self, is_complete: bool) -> None:
        """Finishes the file."""
        size = json.dumps(list(self.info.size))
        self.file.write(f'\n], "num_frames": {self.count}, "size": {size}, "masks": "{self.masks}"}}\n')
        self.file.close()
