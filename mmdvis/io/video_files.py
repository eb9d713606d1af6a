"""Video files as frame sources, decoded by PyAV."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from mmdvis.errors import DataError

from .arrays import check_window, frames_to_tensor
from .decoded_frames import decode_video, to_rgb


class VideoFileFrames:
    """Frames of a video file, decoded in temporal order; reading backwards reopens the file.

    Args:
        path: Path of the video file.
        max_edge: Longer edge in pixels to which larger frames are reduced while they are decoded; None keeps the size.

    Attributes:
        times: Time of each frame in seconds from the first; None if the file does not contain them.
        problems: Frame index -> message, for the frames read so far that the decoder flagged as damaged.

    Raises:
        DataError: The file is missing, contains no video stream or no frame, or a frame cannot be decoded or has
            another size than the first.
    """

    def __init__(self, path: str | Path, max_edge: int | None = None) -> None:
        self.path, self.max_edge = Path(path), max_edge
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
                seconds = [packet.pts and float(packet.pts * packet.time_base) for packet in kept]
                self.num_frames, self.times = len(seconds), times_from_first(seconds)
        except av.error.FFmpegError as error:
            raise DataError(f'{path} cannot be read as a video ({error})') from None
        if not self.num_frames:
            raise DataError(f'{path} contains no frame')
        self.position, self.stream = 0, self.decode()
        first = next(self.stream, None)
        if first is None:
            raise DataError(f'{path}: the first frame cannot be decoded')
        self.size = self.original = first.shape[:2]
        self.position, self.stream = 0, self.decode()

    def __len__(self) -> int:
        return self.num_frames

    def decode(self) -> Iterator[np.ndarray]:
        """Yields all frames from the beginning, (H, W, 3) uint8 RGB."""
        index = 0
        try:
            with av.open(str(self.path)) as container:
                for frame in decode_video(container):
                    if frame.is_corrupt:
                        self.problems[index] = 'the decoder flagged the frame as damaged'
                    yield to_rgb(frame, self.max_edge)
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
                raise DataError(
                    f'{self.path} ends after {self.position} of {len(self)} frames; it is cut off or damaged'
                )
            if frame.shape[:2] != self.size:
                raise DataError(
                    f'frame {self.position} of {self.path} is {frame.shape[:2]} (height, width), but the first '
                    f'frame is {self.size}; all frames of a video must have the same size'
                )
            if self.position >= start:
                frames.append(frame)
            self.position += 1
        return frames_to_tensor(frames)


def times_from_first(seconds: list[float | None]) -> np.ndarray | None:
    """Times (T,) of frames in order, from the first; None if one of them is unknown."""
    known = [value for value in seconds if value is not None]
    return np.sort(known) - min(known) if known and len(known) == len(seconds) else None
