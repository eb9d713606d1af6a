"""Video files as frame sources, decoded by PyAV."""

import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from mmdvis.errors import DataError

from .arrays import check_window, frames_to_tensor
from .decoded_frames import DamagedPacket, decode_video, to_rgb


class VideoFileFrames:
    """Frames of a video file, decoded in temporal order; reading backwards reopens the file.

    Args:
        path: Path of the video file.
        max_edge: Longer edge in pixels to which larger frames are reduced while they are decoded; None keeps the size.
        on_error: ``'raise'``, or ``'repeat'`` to replace a frame that cannot be decoded, and those that are missing at
            the end, by the frame before.

    Attributes:
        times: Time of each frame in seconds from the first; None if the file does not contain them, or if they jump.
        problems: Frame index -> message, for the frames read so far that are damaged or were replaced.

    Raises:
        DataError: The file is missing, contains no video stream or no frame, or a frame cannot be decoded or has
            another size than the first.
    """

    def __init__(self, path: str | Path, max_edge: int | None = None, on_error: str = 'raise') -> None:
        self.path, self.max_edge, self.on_error = Path(path), max_edge, on_error
        self.problems: dict[int, str] = {}
        if not self.path.is_file():
            raise DataError(f'there is no video file {path}')
        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise DataError(f'{path} contains no video stream')
                stream = container.streams.video[0]
                self.fps: float | None = float(stream.average_rate) if stream.average_rate else None
                # the frame count in the header is often wrong or missing, so packets are counted without trimmed ones
                kept = (packet for packet in container.demux(stream) if packet.size > 0 and not packet.is_discard)
                stamps = [
                    (packet.dts, None if packet.pts is None else float(packet.pts * packet.time_base))
                    for packet in kept
                ]
                self.num_frames, self.times = len(stamps), times_from_first(stamps)
        except av.error.FFmpegError as error:
            raise DataError(f'{path} cannot be read as a video ({error})') from None
        if not self.num_frames:
            raise DataError(f'{path} contains no frame')
        self.position, self.stream, self.lock = 0, self.decode(), threading.Lock()
        first = next((frame for frame in self.stream if frame is not None), None)
        if first is None:
            raise DataError(f'{path}: the first frame cannot be decoded')
        self.first = self.latest = first
        self.size = self.original = first.shape[:2]
        self.restart()

    def __len__(self) -> int:
        return self.num_frames

    def decode(self) -> Iterator[np.ndarray | None]:
        """Yields all frames from the beginning, (H, W, 3) uint8 RGB; None for one that cannot be decoded."""
        index = 0
        try:
            with av.open(str(self.path)) as container:
                for frame in decode_video(container):
                    if isinstance(frame, DamagedPacket):
                        self.note(index, f'frame {index} of {self.path} cannot be decoded ({frame.reason})')
                        yield None
                    else:
                        if frame.is_corrupt:
                            self.problems[index] = 'the decoder flagged the frame as damaged'
                        yield to_rgb(frame, self.max_edge)
                    index += 1
        except av.error.FFmpegError as error:
            self.note(index, f'frame {index} of {self.path} cannot be decoded ({error})')

    def note(self, index: int, problem: str) -> None:
        """Raises an error or, with ``on_error='repeat'``, records the problem."""
        if self.on_error == 'raise':
            raise DataError(problem)
        self.problems[index] = problem

    def next_frame(self) -> np.ndarray:
        """The next frame, or the one before if it cannot be used."""
        frame = None
        try:
            frame = next(self.stream)
        except StopIteration:
            self.note(
                self.position, f'{self.path} ends after {self.position} of {len(self)} frames; it is cut off or damaged'
            )
        if frame is not None and frame.shape[:2] != self.size:
            self.note(
                self.position,
                f'frame {self.position} of {self.path} is {frame.shape[:2]} (height, width), but the first frame is '
                f'{self.size}; all frames of a video must have the same size',
            )
            frame = None
        self.latest = self.latest if frame is None else frame
        return self.latest

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        check_window(start, stop, len(self))
        with self.lock:  # windows may be prefetched by another thread
            if start < self.position:
                self.restart()
            frames = []
            while self.position < stop:
                frame = self.next_frame()
                if self.position >= start:
                    frames.append(frame)
                self.position += 1
        return frames_to_tensor(frames)

    def close(self) -> None:
        """Closes the file; reading opens it again."""
        with self.lock:
            self.restart()

    def restart(self) -> None:
        """Goes back to the first frame; the file is opened when that is read."""
        self.stream.close()  # type: ignore[attr-defined]
        self.position, self.stream, self.latest = 0, self.decode(), self.first


def times_from_first(stamps: list[tuple[int | None, float | None]]) -> np.ndarray | None:
    """Times (T,) in seconds of frames in order, from the first, from their times of decoding and presentation.

    Decoding times may be missing (None), as for the first frames of Matroska files.

    Returns:
        None if a presentation time is missing, or if times repeat or decrease, as in files that were joined.
    """
    decoded, shown = [dts for dts, _ in stamps if dts is not None], [pts for _, pts in stamps if pts is not None]
    if not stamps or len(shown) < len(stamps):
        return None
    times = np.sort(shown)
    if (np.diff(np.array(decoded, np.int64)) <= 0).any() or (np.diff(times) <= 0).any():
        return None
    return times - times[0]
