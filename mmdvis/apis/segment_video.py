"""Segments a video and writes the results."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mmdvis.errors import BadInputError
from mmdvis.inference import OfflineVideo, VideoStream
from mmdvis.io import FramesFrom, LiveFrames, VideoFileFrames, has_audio, known_length, original_frames
from mmdvis.result_files import DEFAULT_KINDS, HtmlViewer, VideoInfo, read_saved, variable_times, write_results
from mmdvis.results import ClassInfo, FrameResult
from mmdvis.structures import FrameSource

MEDIA = dict(  # outputs of each kind that could also be opened as a video
    video=('video.mp4',), masks=('panoptic', 'instance', 'semantic'), davis=('davis',), crops=('crops',)
)


def segment_video(
    stream: VideoStream | OfflineVideo,
    source: FrameSource | LiveFrames,
    out_dir: str | Path,
    fps: float = 24.0,
    progress: bool = True,
    save: Collection[str] = DEFAULT_KINDS,
    drawing: Mapping[str, Any] | None = None,
) -> dict[str, Path]:
    """Segments a video with a new :class:`VideoStream` or an :class:`OfflineVideo`; see :func:`save_frames`."""
    classes = stream.model.classes
    return save_frames(stream.frames(source), classes, source, out_dir, fps, progress, save, drawing)


def save_frames(
    frames: Iterable[tuple[np.ndarray, FrameResult]],
    classes: ClassInfo,
    source: FrameSource | LiveFrames,
    out_dir: str | Path,
    fps: float = 24.0,
    progress: bool = True,
    save: Collection[str] = DEFAULT_KINDS,
    drawing: Mapping[str, Any] | None = None,
    compare: str | Path | None = None,
    truth: str | Path | None = None,
) -> dict[str, Path]:
    """Writes the results of a video.

    ``video.mp4`` shows the results, with the sound of the source. ``panoptic/<frame>.png`` stores segment ids as
    colours (id = R + 256 G + 65536 B), ``semantic/<frame>.png`` category ids. ``result.json`` lists the objects of
    every frame; for instance segmentation, it contains their masks as COCO run lengths. docs/en/segment_videos.md
    describes all files. Files appear only when they are complete.

    Args:
        frames: Picture (H, W, 3) uint8 RGB and result of each frame.
        classes: Classes of the results.
        source: The video.
        out_dir: Output folder; existing files with the same names are replaced.
        fps: Frames per second of the output if the source has no frame rate.
        progress: Whether to show a progress bar.
        save: What is written, some of ``mmdvis.result_files.KINDS``.
        drawing: Options of :class:`mmdvis.visualization.ResultVisualizer` for the video.
        compare: Folder of saved results that the viewer shows beside these.
        truth: Ground truth that the viewer shows beside these, with misses and identity switches: a folder of saved
            results, or a json in the format of VIPSeg, with ``panomasksRGB/`` beside it, whose video has the name of
            ``out_dir``.

    Returns:
        Name -> path of each written file or folder.

    Raises:
        BadInputError: ``compare`` or ``truth`` contains no results of this video, or a source file would be replaced.
        ValueError: A name in ``save`` is unknown.
    """
    original = source if isinstance(source, LiveFrames) else original_frames(source)
    rate = source.fps or fps
    check_source_remains(files_of(original), Path(out_dir), save)
    path = original.path if isinstance(original, VideoFileFrames) else None
    audio = path if path is not None and has_audio(path) else None
    is_live = isinstance(source, LiveFrames)
    known = getattr(original, 'times', None)
    times = known if is_live else variable_times(known, rate)
    name = Path(out_dir).resolve().name
    info = VideoInfo(name, classes, source.original, rate, times, audio, is_live, dict(drawing or {}))
    folder = compare if truth is None else truth
    other = None if folder is None else read_saved(folder, name)
    frames_here, frames_there = known_length(source), None if other is None else len(other)
    if other is not None and frames_here is not None and frames_here != frames_there:
        raise BadInputError(
            f'{name} has {frames_here} frames, but {folder} has {frames_there}; give results of the same video'
        )

    def viewer(work: Path, video: VideoInfo) -> HtmlViewer:
        if other is None:
            return HtmlViewer(work, video)
        title = 'comparison' if truth is None else 'ground truth'
        return HtmlViewer(work, video, other, other.classes, title, truth is not None)

    bar = tqdm(frames, total=known_length(source), unit='frame', disable=not progress)
    return write_results(bar, out_dir, info, save, viewer)


def files_of(source: FrameSource | LiveFrames) -> Sequence[Path]:
    """The files that a source reads."""
    while isinstance(source, FramesFrom):
        source = source.source
    return (source.path,) if isinstance(source, VideoFileFrames) else getattr(source, 'paths', ())


def check_source_remains(paths: Iterable[Path], out_dir: Path, save: Collection[str]) -> None:
    """Checks that writing the results does not replace any file of the source.

    Raises:
        BadInputError: A source file would be replaced.
    """
    folder, names = out_dir.resolve(), {name for kind in save for name in MEDIA.get(kind, ())}
    for path in paths:
        found = Path(path).resolve()
        if folder in found.parents and found.relative_to(folder).parts[0] in names:
            raise BadInputError(
                f'{path} is part of the source and would be replaced by the results; write them to another folder than '
                f'{out_dir}'
            )
