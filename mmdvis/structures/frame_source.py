"""Videos as sources of frames: a file list, a video file, an array. Only the window at hand is ever decoded."""
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Protocol, Sequence, Tuple, Union

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .axes import Size
from .image_files import IMAGE_SUFFIXES, DataError, image_size, natural_key, read_image


class FrameSource(Protocol):
    """A video that is read window by window.

    Attributes:
        size: (height, width) of the frames that ``read`` gives.
        original: (height, width) in which results are wanted.
        fps: frames in a second; None where nobody says.
    """
    size: Size
    original: Size
    fps: Optional[float]

    def __len__(self) -> int:
        """The number of frames."""

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 RGB (stop - start, 3, H, W) on the host."""


def to_tensor(frames: Sequence[np.ndarray]) -> Tensor:
    """(H, W, 3) arrays -> uint8 (t, 3, H, W)."""
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).contiguous()


def check_window(start: int, stop: int, length: int) -> None:
    """Raises IndexError unless 0 <= start < stop <= length."""
    if not 0 <= start < stop <= length:
        raise IndexError(f'frames [{start}, {stop}) do not lie in a video of {length} frames')


class ArrayFrames:
    """Frames in memory: uint8 RGB (T, 3, H, W)."""

    def __init__(self, frames: Tensor, original: Optional[Size] = None, fps: Optional[float] = None) -> None:
        if frames.dtype != torch.uint8 or frames.dim() != 4 or frames.shape[1] != 3:
            raise ValueError(f'frames must be uint8 (T, 3, H, W), got {frames.dtype} {tuple(frames.shape)}')
        self.frames, self.fps = frames, fps
        self.size: Size = tuple(frames.shape[-2:])
        self.original = original or self.size

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        check_window(start, stop, len(self))
        return self.frames[start:stop]


def size_or_none(path: Path) -> Optional[Size]:
    """(height, width) of an image file; None where it cannot be read."""
    try:
        return image_size(path)
    except DataError:
        return None


class FileFrames:
    """A list of image files, all of one size.

    Args:
        paths: the files in the order of time.
        fps: frames in a second, if known.
        on_error: ``'raise'``, or ``'repeat'``: a frame that cannot be used is replaced by the nearest before it that can
            (the first frames of a video: after it). Frames of another size than most of the video cannot be used.

    Attributes:
        problems: frame -> what was wrong with it, of the frames that were replaced.

    Raises:
        DataError: the list is empty, a file cannot be read, or (when read) a frame has another size than the first.
    """

    def __init__(self, paths: Sequence[Union[str, Path]], fps: Optional[float] = None, on_error: str = 'raise') -> None:
        if not paths:
            raise DataError('a video needs at least one frame, got an empty list of files')
        self.paths, self.fps, self.on_error = [Path(path) for path in paths], fps, on_error
        self.problems: Dict[int, str] = {}
        self.size = self.original = (0, 0)
        if on_error == 'raise':
            self.size = self.original = read_image(self.paths[0]).shape[:2]
            return
        sizes = Counter(size for size in map(size_or_none, self.paths) if size)
        if sizes:
            self.size = self.original = sizes.most_common(1)[0][0]
        self.neighbour(0)  # says it now, if there is nothing to show

    @classmethod
    def from_folder(cls, folder: Union[str, Path], fps: Optional[float] = None) -> 'FileFrames':
        """All images of a folder in natural order; names that begin with a dot are passed over."""
        paths = sorted((p for p in Path(folder).iterdir()
                        if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith('.')), key=natural_key)
        if not paths:
            raise DataError(f'{folder} holds no image; it must hold frames as {", ".join(IMAGE_SUFFIXES)}')
        return cls(paths, fps)

    def __len__(self) -> int:
        return len(self.paths)

    def try_frame(self, index: int) -> Optional[np.ndarray]:
        """Frame ``index`` (H, W, 3), or None where it cannot be used and may be replaced."""
        try:
            frame = read_image(self.paths[index])
            if self.size not in ((0, 0), frame.shape[:2]):
                raise DataError(
                    f'frame {index} ({self.paths[index]}) is {frame.shape[:2]} (height, width), the first frame '
                    f'{self.size}; all frames of a video must have one size')
            return frame
        except DataError as error:
            if self.on_error == 'raise':
                raise
            self.problems[index] = str(error)
            return None

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        check_window(start, stop, len(self))
        frames: List[np.ndarray] = []
        for index in range(start, stop):
            frame = self.try_frame(index)
            if frame is None:
                frame = frames[-1] if frames else self.neighbour(index)
            frames.append(frame)
        return to_tensor(frames)

    def neighbour(self, index: int) -> np.ndarray:
        """The nearest frame before ``index`` that can be used, else the nearest after it."""
        for other in (*range(index, -1, -1), *range(index + 1, len(self))):
            frame = self.try_frame(other)
            if frame is not None:
                return frame
        raise DataError(f'none of the {len(self)} frames of the video can be used: {self.problems[index]}')


class VideoFileFrames:
    """A video file, decoded by PyAV in the order of time; going back reopens the file.

    Raises:
        DataError: the file is missing, holds no video stream or no frame, or a frame cannot be decoded or has another
            size than the first.
    """

    def __init__(self, path: Union[str, Path]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f'there is no video file {path}')
        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise DataError(f'{path} holds no video stream')
                stream = container.streams.video[0]
                self.fps: Optional[float] = float(stream.average_rate) if stream.average_rate else None
                # packets are counted because the header's figure is often wrong or absent; a trimmed file hides some of them
                self.num_frames = sum(packet.size > 0 and not packet.is_discard for packet in container.demux(stream))
        except av.error.FFmpegError as error:
            raise DataError(f'{path} cannot be read as a video ({error})') from None
        if not self.num_frames:
            raise DataError(f'{path} holds no frame')
        self.position, self.stream = 0, self.decode()
        first = next(self.stream, None)
        if first is None:
            raise DataError(f'{path}: the first frame cannot be decoded')
        self.size = self.original = first.shape[:2]
        self.position, self.stream = 0, self.decode()

    def __len__(self) -> int:
        return self.num_frames

    def decode(self) -> Iterator[np.ndarray]:
        """All frames from the beginning, (H, W, 3) uint8 RGB."""
        index = 0
        try:
            with av.open(str(self.path)) as container:
                for frame in container.decode(video=0):
                    yield frame.to_ndarray(format='rgb24')
                    index += 1
        except av.error.FFmpegError as error:
            raise DataError(f'frame {index} of {self.path} cannot be decoded ({error})') from None

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        check_window(start, stop, len(self))
        if start < self.position:
            self.position, self.stream = 0, self.decode()
        frames = []
        while self.position < stop:
            frame = next(self.stream, None)
            if frame is None:
                raise DataError(f'{self.path} ends after {self.position} of {len(self)} frames; it is cut off or damaged')
            if frame.shape[:2] != self.size:
                raise DataError(f'frame {self.position} of {self.path} is {frame.shape[:2]} (height, width), the first '
                                f'frame {self.size}; all frames of a video must have one size')
            if self.position >= start:
                frames.append(frame)
            self.position += 1
        return to_tensor(frames)


def short_edge_size(size: Size, short_edge: int, max_edge: Optional[int] = None) -> Size:
    """The size whose short edge is ``short_edge``, unless the long one would pass ``max_edge`` (as detectron2 rounds)."""
    height, width = size
    scale = short_edge / min(height, width)
    if max_edge is not None and round(max(height, width) * scale, 6) > max_edge:
        scale = max_edge / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


class FrameView:
    """What all sources share that show the frames of another source in their own way."""

    def __init__(self, source: FrameSource) -> None:
        self.source, self.size, self.original, self.fps = source, source.size, source.original, source.fps

    @property
    def problems(self) -> Dict[int, str]:
        """Of the source; see :class:`FileFrames`."""
        return getattr(self.source, 'problems', {})

    def __len__(self) -> int:
        return len(self.source)


class ResizedFrames(FrameView):
    """A source whose frames are resized on the host by Pillow's bilinear filter, as detectron2 does.

    Args:
        source: the frames.
        short_edge: wanted length of the short edge in pixels.
        max_edge: limit of the long edge.
    """

    def __init__(self, source: FrameSource, short_edge: int, max_edge: Optional[int] = None) -> None:
        super().__init__(source)
        self.size = short_edge_size(source.size, short_edge, max_edge)

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W) at ``size``."""
        frames = self.source.read(start, stop)
        if tuple(frames.shape[-2:]) == self.size:
            return frames
        height, width = self.size
        return to_tensor([np.asarray(Image.fromarray(frame.permute(1, 2, 0).numpy()).resize((width, height), Image.BILINEAR))
                          for frame in frames])


class PrefetchedFrames(FrameView):
    """A source that reads the next window of the same length while the caller works on this one."""

    def __init__(self, source: FrameSource) -> None:
        super().__init__(source)
        self.worker: Optional[ThreadPoolExecutor] = None  # made at the first read, so that a source can be pickled
        self.pending: Dict[Tuple[int, int], Future] = {}

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W); starts to read the window behind it."""
        self.worker = self.worker or ThreadPoolExecutor(max_workers=1)
        ready = self.pending.pop((start, stop), None)
        for future in self.pending.values():
            future.cancel()
        self.pending.clear()
        frames = (ready or self.worker.submit(self.source.read, start, stop)).result()
        ahead = (stop, min(2 * stop - start, len(self)))
        if ahead[0] < ahead[1]:
            self.pending[ahead] = self.worker.submit(self.source.read, *ahead)
        return frames


def open_frames(path: Union[str, Path]) -> FrameSource:
    """A video file or a folder of frames as a source.

    Raises:
        ValueError: the path is neither, or what lies there cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return FileFrames.from_folder(path)
    return VideoFileFrames(path)
