"""Writes the results of the frames of a video: an mp4 with the results drawn in, maps as PNGs, and a json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmdvis.io import VideoWriter, id_to_rgb
from mmdvis.results import ClassInfo, FrameResult, SegmentedObject, encode_mask

from .visualizer import ResultVisualizer


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


class FrameWriter:
    """Writes the results of frames, in their order, into a folder.

    Args:
        folder: folder to write to; maps go to ``panoptic/`` or ``semantic/``, instances into the json.
        classes: the classes of the model.
        fps: frame rate of the video.
        num_frames: number of frames, for the json.
    """

    def __init__(self, folder: Path, classes: ClassInfo, fps: float, num_frames: int) -> None:
        self.folder, self.classes, self.count = folder, classes, 0
        self.visualizer, self.video = ResultVisualizer(classes), VideoWriter(folder / 'video.mp4', fps)
        self.json = open(folder / 'result.json', 'w')
        names = json.dumps(list(classes.names))
        self.json.write(f'{{"fps": {fps}, "num_frames": {num_frames}, "classes": {names}, "frames": [\n')

    def __enter__(self) -> 'FrameWriter':
        self.video.__enter__()
        return self

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Writes the next frame."""
        name = f'{self.count:08d}.png'
        pixels = map_pixels(result, self.classes)
        if pixels is not None:
            maps = self.folder / ('semantic' if result.id_map is None else 'panoptic')
            maps.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(maps / name)
        self.video.write(self.visualizer.draw(picture, result))
        infos = [object_info(segment, self.classes, pixels is None) for segment in result.objects]
        entry = dict(frame=self.count, file_name=None if pixels is None else name, segments_info=infos)
        self.json.write(',\n' * (self.count > 0) + json.dumps(entry))
        self.count += 1

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        self.json.write('\n]}\n')
        self.json.close()
        self.video.__exit__(kind, error, trace)


def map_pixels(result: FrameResult, classes: ClassInfo) -> np.ndarray | None:
    """The pixels of a frame's PNG: ids as colours (panoptic) or category ids (semantic); None for instances."""
    if result.id_map is not None:
        return id_to_rgb(result.id_map)
    if result.label_map is None:
        return None
    values = np.array(classes.category_ids)
    return values.astype(np.uint8 if values.max() < 256 else np.uint16)[result.label_map]
