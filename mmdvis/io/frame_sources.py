"""Frame sources for image lists, video files and arrays; only the requested frames are decoded."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mmdvis.checks import Size
from mmdvis.errors import DataError
from mmdvis.structures.frame_source import FrameSource

from .arrays import check_window, frames_to_tensor
from .images import IMAGE_SUFFIXES, image_size, natural_key, read_image
from .video_files import VideoFileFrames


def size_or_none(path: Path, upright: bool = False) -> Size | None:
    """(height, width) of an image file, see :func:`image_size`; None if the file cannot be read."""
    try:
        return image_size(path, upright)
    except DataError:
        return None


class FileFrames:
    """Frames from a list of image files, all of one size.

    Args:
        paths: Files in temporal order.
        fps: Frames per second; None if unknown.
        on_error: ``'raise'``, or ``'repeat'`` to replace an unusable frame by the nearest usable frame before it (for
            the first frames of a video: after it). Frames whose size differs from most frames of the video are
            unusable.
        max_edge: Longer edge in pixels to which larger frames are reduced; None keeps the size.
        upright: Whether to apply the orientation of EXIF, as viewers do. Datasets are annotated without it.

    Attributes:
        problems: Frame index -> error message, for the frames that were replaced.

    Raises:
        DataError: The list is empty, a file cannot be read, or (when read) a frame has another size than the first.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        fps: float | None = None,
        on_error: str = 'raise',
        max_edge: int | None = None,
        upright: bool = False,
    ) -> None:
        if not paths:
            raise DataError('a video needs at least one frame, got an empty list of files')
        self.paths, self.fps, self.on_error = [Path(path) for path in paths], fps, on_error
        self.problems: dict[int, str] = {}
        self.decode = partial(read_image, max_edge=max_edge, upright=upright)
        self.size = self.original = (0, 0)
        if on_error == 'raise':
            self.size = self.original = self.decode(self.paths[0]).shape[:2]
            return
        self.size = self.original = self.usual_size(upright)
        self.neighbour(0)  # fails early if no frame is usable

    def usual_size(self, upright: bool) -> Size:
        """Most common (height, width) of the decoded frames; (0, 0) if no frame can be decoded."""
        sizes = [size_or_none(path, upright) for path in self.paths]
        for common, _ in Counter(size for size in sizes if size).most_common():
            for path in (path for path, size in zip(self.paths, sizes) if size == common):
                try:
                    height, width = self.decode(path).shape[:2]
                except DataError:
                    continue
                return height, width
        return 0, 0

    @classmethod
    def from_folder(cls, folder: str | Path, **options: Any) -> 'FileFrames':
        """All images of a folder in natural order; hidden files are skipped. Options: those of the class.

        Raises:
            DataError: The folder contains no image.
        """
        paths = sorted(
            (p for p in Path(folder).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith('.')),
            key=natural_key,
        )
        if not paths:
            raise DataError(f'{folder} contains no image; it must contain frames as {", ".join(IMAGE_SUFFIXES)}')
        return cls(paths, **options)

    def __len__(self) -> int:
        return len(self.paths)

    def try_frame(self, index: int) -> np.ndarray | None:
        """Frame ``index`` (H, W, 3); None if it is unusable and ``on_error`` is ``'repeat'``."""
        try:
            frame = self.decode(self.paths[index])
            if self.size not in ((0, 0), frame.shape[:2]):
                others = 'the first frame is' if self.on_error == 'raise' else 'most frames are'
                raise DataError(
                    f'frame {index} ({self.paths[index]}) is {frame.shape[:2]} (height, width), but {others} '
                    f'{self.size}; all frames of a video must have the same size'
                )
            return frame
        except DataError as error:
            if self.on_error == 'raise':
                raise
            self.problems[index] = str(error)
            return None

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        check_window(start, stop, len(self))
        frames: list[np.ndarray] = []
        for index in range(start, stop):
            frame = self.try_frame(index)
            if frame is None:
                frame = frames[-1] if frames else self.neighbour(index)
            frames.append(frame)
        return frames_to_tensor(frames)

    def neighbour(self, index: int) -> np.ndarray:
        """Nearest usable frame before ``index``, or else after it.

        Raises:
            DataError: No frame is usable.
        """
        for other in (*range(index, -1, -1), *range(index + 1, len(self))):
            frame = self.try_frame(other)
            if frame is not None:
                return frame
        raise DataError(f'none of the {len(self)} frames of the video can be used: {self.problems[index]}')


def open_frames(path: str | Path, max_edge: int | None = None, on_error: str = 'raise') -> FrameSource:
    """Opens a video file, a folder of frames, or an image, and applies its orientation metadata.

    Args:
        path: Path of the file or folder.
        max_edge: Longer edge in pixels to which larger frames are reduced; None keeps the size.
        on_error: ``'raise'``, or ``'repeat'`` to replace unusable frames, see :class:`FileFrames`.

    Raises:
        DataError: The path is none of these, or cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return FileFrames.from_folder(path, max_edge=max_edge, upright=True, on_error=on_error)
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        return FileFrames([path], max_edge=max_edge, upright=True)
    return VideoFileFrames(path, max_edge, on_error)
