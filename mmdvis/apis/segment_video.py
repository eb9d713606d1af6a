"""Writes the results of a video: an mp4 with the results drawn in, maps as PNGs, and a json."""

import shutil
import tempfile
from pathlib import Path

from tqdm import tqdm

from mmdvis.io import BackgroundWriter, replace_path
from mmdvis.structures import FrameSource
from mmdvis.visualization import FrameWriter

from .offline_video import OfflineVideo
from .video_stream import VideoStream


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
