"""Writes the results of a video: an mp4 with the results drawn in, maps as PNGs, and a json."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from mmdvis.io import BackgroundWriter, VideoWriter, id_to_rgb, replace_path
from mmdvis.results import ClassInfo, FrameResult, SegmentedObject, encode_mask
from mmdvis.structures import FrameSource
from mmdvis.visualization import ResultVisualizer

from .offline_video import OfflineVideo
from .video_stream import VideoStream


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


def segment_video(
    stream: VideoStream | OfflineVideo,
    source: FrameSource,
    out_dir: str | Path,
    fps: float = 24.0,
    progress: bool = True,
) -> dict[str, Path]:
    """Segments a video and writes the results.

    ``video.mp4`` shows the results. ``panoptic/<frame>.png`` stores segment ids as colours (id = R + 256 G + 65536 B),
    ``semantic/<frame>.png`` stores category ids. ``result.json`` lists the objects of every frame; for instance
    segmentation, it contains their masks as COCO run lengths.

    Files are written in a background thread to a temporary folder inside ``out_dir``. They are moved to their final
    paths when the video is complete, so an interrupted run leaves no incomplete files.

    Args:
        stream: New :class:`VideoStream`, or an :class:`OfflineVideo`.
        source: Video to segment.
        out_dir: Output folder; existing files with the same names are replaced.
        fps: Frames per second of the output if the source has no frame rate.
        progress: Whether to show a progress bar.

    Returns:
        Name -> path of each written file or folder.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix='.part-', dir=out_dir))
    try:
        frames = tqdm(stream.frames(source), total=len(source), unit='frame', disable=not progress)
        with FrameWriter(work, stream.model.classes, source.fps or fps, len(source)) as writer:
            with BackgroundWriter() as background:
                for picture, result in frames:
                    background.put(writer.write, picture, result)
        names = [name for name in ('video.mp4', 'panoptic', 'semantic', 'result.json') if (work / name).exists()]
        return {name: replace_path(work / name, out_dir / name) for name in names}
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if not any(out_dir.iterdir()):
            out_dir.rmdir()
