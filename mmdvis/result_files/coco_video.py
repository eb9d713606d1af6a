"""A json with the tracks of a video, in the format of YouTube-VIS."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from mmdvis.results import FrameResult, encode_mask

from .frame_json import categories
from .video_info import VideoInfo


class CocoVideo:
    """Writes ``coco.json``: videos, categories, and an annotation with run-length masks for each identity.

    It can be read as a YouTube-VIS dataset; each annotation also has its mean score. A track belongs to the class that
    it has in most frames. The masks of the frames are kept in a temporary file until the end.

    Args:
        folder: Folder to write to.
        info: Name, size, timing and classes of the video.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self.folder, self.info, self.count = folder, info, 0
        self.spool = tempfile.TemporaryFile('w+b')
        self.tracks: dict[int, list[tuple[int, int, int, float | None]]] = {}  # id -> (frame, offset, label, score)

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Adds the objects of the next frame."""
        first = int(result.label_map is not None)  # labels begin at 0, ids of annotations at 1
        for segment in result.objects:
            entry = (self.count, self.spool.tell(), segment.label, segment.score)
            self.tracks.setdefault(segment.id + first, []).append(entry)
            x1, y1, x2, y2 = segment.box
            content = (encode_mask(segment.mask), [x1, y1, x2 - x1, y2 - y1], segment.area)
            self.spool.write(json.dumps(content).encode() + b'\n')
        self.count += 1

    def annotation(self, number: int, track: list[tuple[int, int, int, float | None]]) -> dict[str, Any]:
        """The entry of an identity."""
        masks: list[Any] = [None] * self.count
        boxes, areas = list(masks), list(masks)
        for frame, offset, _, _ in track:
            self.spool.seek(offset)
            masks[frame], boxes[frame], areas[frame] = json.loads(self.spool.readline())
        labels = [label for _, _, label, _ in track]
        label = max(sorted(set(labels)), key=labels.count)
        scores = [score for _, _, _, score in track if score is not None]
        entry = dict(
            id=number,
            video_id=1,
            category_id=self.info.classes.category_ids[label],
            iscrowd=0,
            height=self.info.size[0],
            width=self.info.size[1],
            length=self.count,
            segmentations=masks,
            bboxes=boxes,
            areas=areas,
        )
        return dict(entry, score=round(sum(scores) / len(scores), 4)) if scores else entry

    def close(self, is_complete: bool) -> None:
        """Writes the file, one annotation at a time."""
        if is_complete:
            height, width = self.info.size
            names = [f'{self.info.name}/{frame:05d}.jpg' for frame in range(self.count)]
            video = dict(id=1, height=height, width=width, length=self.count, file_names=names)
            with open(self.folder / 'coco.json', 'w') as file:
                head = json.dumps(dict(info={}, videos=[video], categories=categories(self.info.classes)))
                file.write(head[:-1] + ', "annotations": [\n')
                for k, (number, track) in enumerate(sorted(self.tracks.items())):
                    file.write(',\n' * (k > 0) + json.dumps(self.annotation(number, track)))
                file.write('\n]}\n')
        self.spool.close()
