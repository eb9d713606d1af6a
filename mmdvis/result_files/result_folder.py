"""Writes the results of a video into a folder."""

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from mmdvis.checks import check_choice
from mmdvis.io import BackgroundWriter, replace_path
from mmdvis.results import FrameResult

from .coco_video import CocoVideo
from .crops import Crops
from .drawn_video import DrawnVideo
from .frame_json import FrameJson
from .mask_pngs import DavisPngs, MaskPngs
from .track_tables import MotsText, MotText, TrackCsv
from .video_info import ResultFile, VideoInfo
from .viewer import HtmlViewer

KINDS: dict[str, Callable[[Path, VideoInfo], ResultFile]] = {
    'video': DrawnVideo,
    'masks': MaskPngs,
    'json': FrameJson,
    'csv': TrackCsv,
    'mot': MotText,
    'mots': MotsText,
    'coco': CocoVideo,
    'davis': DavisPngs,
    'crops': Crops,
    'html': HtmlViewer,
}
DEFAULT_KINDS = ('video', 'masks', 'json')


def write_results(
    frames: Iterable[tuple[np.ndarray, FrameResult]],
    out_dir: str | Path,
    info: VideoInfo,
    kinds: Collection[str] = DEFAULT_KINDS,
    viewer: Callable[[Path, VideoInfo], ResultFile] = HtmlViewer,
) -> dict[str, Path]:
    """Writes the results of a video.

    Files are written in a background thread to a temporary folder inside ``out_dir``. They are moved to their final
    paths when the video is complete, so an interrupted run leaves no incomplete files. Ctrl-C ends a live video: its
    results so far are written.

    Args:
        frames: Picture (H, W, 3) uint8 RGB and result of each frame.
        out_dir: Output folder; existing files with the same names are replaced.
        info: Name, size, timing and classes of the video.
        kinds: What is written, some of :data:`KINDS`.
        viewer: What makes the viewer for the kind ``'html'``.

    Returns:
        Name -> path of each written file or folder.

    Raises:
        ValueError: A kind is unknown.
    """
    for kind in kinds:
        check_choice('save', kind, tuple(KINDS))
    out_dir = Path(out_dir)
    is_new = not out_dir.exists()
    out_dir.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix='.part-', dir=out_dir))
    files: list[ResultFile] = []
    is_complete = False
    try:
        try:
            for kind in dict.fromkeys(kinds):
                files.append(viewer(work, info) if kind == 'html' else KINDS[kind](work, info))
            with BackgroundWriter() as background:
                try:
                    for picture, result in frames:
                        background.put(write_frame, files, picture, result)
                except KeyboardInterrupt:
                    if not info.is_live:
                        raise
            is_complete = True
        finally:
            for file in files:
                file.close(is_complete)
        return {path.name: replace_path(path, out_dir / path.name) for path in sorted(work.iterdir())}
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if is_new and not any(out_dir.iterdir()):
            out_dir.rmdir()


def write_frame(files: Sequence[ResultFile], picture: np.ndarray, result: FrameResult) -> None:
    """Adds a frame to all files."""
    for file in files:
        file.write(picture, result)
