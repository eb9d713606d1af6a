"""Writes the results of a video into a folder."""

import logging
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from mmdvis.checks import check_choice
from mmdvis.errors import BadInputError, DataError
from mmdvis.io import BackgroundWriter, replace_together, work_folder
from mmdvis.results import FrameResult

from .coco_video import CocoVideo
from .crops import Crops
from .drawn_video import DrawnVideo
from .frame_json import FrameJson
from .mask_pngs import DavisPngs, MaskPngs
from .track_tables import MotsText, MotText, TrackCsv
from .video_info import ResultFile, VideoInfo
from .viewer import HtmlViewer

LOGGER = logging.getLogger('mmdvis')
Maker = Callable[[Path, VideoInfo], ResultFile]
KINDS: dict[str, Maker] = {
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
    viewer: Maker = HtmlViewer,
) -> dict[str, Path]:
    """Writes the results of a video.

    Files are written in a background thread to a temporary folder inside ``out_dir``. They are moved to their final
    paths together when the video is complete, so an interrupted run leaves no incomplete files, and results of two runs
    are never mixed. Ctrl-C ends a live video: its results so far are written. After SIGTERM or SIGHUP, they are
    written too, and the signal is raised again.

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
        KeyboardInterrupt: The program is interrupted, except by Ctrl-C during a live video.
    """
    for kind in kinds:
        check_choice('save', kind, tuple(KINDS))
    out_dir = Path(out_dir)
    is_new = not out_dir.exists()
    interrupt: KeyboardInterrupt | None = None
    out_dir.mkdir(parents=True, exist_ok=True)
    try:
        with work_folder(out_dir) as work:
            with OpenFiles(work, info, {kind: viewer if kind == 'html' else KINDS[kind] for kind in kinds}) as files:
                with BackgroundWriter() as background:
                    try:
                        for picture, result in frames:
                            background.put(files.write, picture, result)
                    except KeyboardInterrupt as error:
                        if not info.is_live:
                            raise
                        interrupt = error
            return replace_together(work, out_dir)
    finally:
        if is_new and not any(out_dir.iterdir()):
            out_dir.rmdir()
        if interrupt is not None and hasattr(interrupt, 'number'):  # a signal ends the program, Ctrl-C only the video
            raise interrupt


class OpenFiles:
    """Context manager of the files of a video. A kind that cannot show the video is left out with a warning.

    Args:
        work: Folder to write to; each kind gets a folder of its own in it until the end.
        info: Name, size, timing and classes of the video.
        kinds: Kind -> what makes its files.

    Raises:
        DataError: There was no frame (at the end).
    """

    def __init__(
        self, work: Path, info: VideoInfo, kinds: Mapping[str, Callable[[Path, VideoInfo], ResultFile]]
    ) -> None:
        self.work, self.info, self.kinds, self.count = work, info, kinds, 0
        self.files: dict[str, ResultFile] = {}

    def __enter__(self) -> 'OpenFiles':
        try:
            for kind, make in self.kinds.items():
                (self.work / f'.{kind}').mkdir()
                self.files[kind] = make(self.work / f'.{kind}', self.info)
        except BaseException:
            self.close(is_complete=False)
            raise
        return self

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Adds a frame to all files."""
        for kind, file in list(self.files.items()):
            try:
                file.write(picture, result)
            except BadInputError as error:
                LOGGER.warning('%s: no %s is written: %s', self.info.name, kind, error)
                self.files.pop(kind).close(is_complete=False)
                shutil.rmtree(self.work / f'.{kind}')
        self.count += 1

    def close(self, is_complete: bool) -> None:
        """Finishes all files, and moves them into the folder; raises the first error when all are closed."""
        errors: list[BaseException] = []
        for kind, file in self.files.items():
            try:
                file.close(is_complete)
            except Exception as error:
                errors.append(error)
            if is_complete and not errors:
                for path in sorted((self.work / f'.{kind}').iterdir()):
                    path.rename(self.work / path.name)
        for kind in self.kinds:
            shutil.rmtree(self.work / f'.{kind}', ignore_errors=True)
        if errors and is_complete:
            raise errors[0]

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        self.close(is_complete=kind is None and self.count > 0)
        if kind is None and not self.count:
            raise DataError(f'{self.info.name} has no frame, so no results are written')
