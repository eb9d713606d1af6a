"""Video in, video out."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from mmdvis.io import BackgroundWriter, VideoWriter, id_to_rgb
from mmdvis.structures import FrameSource, Segment
from mmdvis.visualization import draw_panoptic

from .offline_video import OfflineVideo
from .video_stream import VideoStream


def frame_info(
    index: int, file_name: str, id_map: np.ndarray, segments: list[Segment], meta: dict[str, Any]
) -> dict[str, Any]:
    """What the json says of one frame; categories are those of the dataset."""
    return dict(
        frame=index,
        file_name=file_name,
        segments_info=[
            dict(
                id=s.id,
                category_id=meta['category_ids'][s.label],
                category=meta['classes'][s.label],
                isthing=s.is_thing,
                score=round(s.score, 4),
                area=int((id_map == s.id).sum()),
            )
            for s in segments
        ],
    )


def segment_video(
    stream: VideoStream | OfflineVideo,
    source: FrameSource,
    out_dir: str | Path,
    meta: dict[str, Any],
    clip_len: int = 10,
    fps: float = 24.0,
    progress: bool = True,
) -> dict[str, Path]:
    """Writes ``video.mp4``, ``panoptic/<frame>.png`` (id = R + 256 G + 65536 B) and ``result.json``.

    Frames are written behind the model's back as they come, a few at most waiting; everything goes to a temporary folder
    beside ``out_dir`` and takes its place when the last frame is done, so that a failure leaves nothing half written.

    Args:
        stream: a fresh stream, or what segments a whole video.
        source: the video.
        out_dir: folder to write to; files of the same names in it are replaced.
        meta: ``classes`` and ``category_ids`` of the labels, as ``init_model`` gives them.
        clip_len: frames of one push, which a refiner sees together; an online model's results do not depend on it.
        fps: of the output, where the source does not say.
        progress: show a bar with speed and time left.

    Returns:
        what -> where it was written.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix='.part-', dir=out_dir))
    try:
        (work / 'panoptic').mkdir()
        rate = source.fps or fps
        with VideoWriter(work / 'video.mp4', rate) as writer, open(work / 'result.json', 'w') as text:
            names = json.dumps(list(meta['classes']))
            text.write(f'{{"fps": {rate}, "num_frames": {len(source)}, "classes": {names}, "frames": [\n')

            def write(index: int, frame: np.ndarray, id_map: np.ndarray, segments: list[Segment]) -> None:
                name = f'{index:08d}.png'
                Image.fromarray(id_to_rgb(id_map)).save(work / 'panoptic' / name)
                writer.write(draw_panoptic(frame, id_map, segments, meta['classes']))
                text.write(',\n' * (index > 0) + json.dumps(frame_info(index, name, id_map, segments, meta)))

            frames = tqdm(stream.frames(source, clip_len), total=len(source), unit='frame', disable=not progress)
            with BackgroundWriter() as background:
                for index, found in enumerate(frames):
                    background.put(write, index, *found)
            text.write('\n]}\n')
        return {name: publish(work / name, out_dir / name) for name in ('video.mp4', 'panoptic', 'result.json')}
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if not any(out_dir.iterdir()):
            out_dir.rmdir()


def publish(source: Path, target: Path) -> Path:
    """Moves a finished file or folder to its place."""
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(source, target)
    return target
