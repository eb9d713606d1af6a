"""Sources of unknown length: cameras, network streams and pipes."""

import hashlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
from torch import Tensor

from mmdvis.errors import DataError
from mmdvis.structures import FrameSource

from .arrays import frames_to_tensor
from .decoded_frames import DamagedPacket, decode_video, to_rgb
from .frame_sources import open_frames

LOGGER = logging.getLogger('mmdvis')
ADDRESS = re.compile(r'^[a-z][a-z0-9+.-]+://', re.IGNORECASE)
FILES = ('http', 'https', 'ftp', 'ftps', 'file')  # protocols of files, which start from the beginning when reopened
TIMEOUT = 10.0  # seconds without data after which a network stream counts as lost
STABLE = 50  # frames after which a source that was opened again counts as found


class LiveFrames:
    """Frames of a camera, a network stream or a pipe, which are read once and in order.

    A camera or stream that is lost is opened again. If this fails, or its frames then have another size, the video
    ends, and ``problems`` says why. Files behind an ``http://`` address and pipes are not opened again.

    Args:
        address: Number of a camera, URL (``rtsp://``, ``http://``, ...), or ``-`` for the standard input.
        max_edge: Longer edge in pixels to which larger frames are reduced; None keeps the size.
        retries: How often a lost source is opened again in a row.
        wait: Seconds before each attempt.

    Attributes:
        size, original: (height, width) of the frames.
        fps: Frames per second; None if unknown.
        times: Time in seconds of each frame that was read, from the first.
        problems: Frame index -> message, for damaged frames and interruptions.

    Raises:
        DataError: The source cannot be opened, or contains no video.
    """

    def __init__(self, address: str | int, max_edge: int | None = None, retries: int = 3, wait: float = 1.0) -> None:
        self.address, self.max_edge, self.retries, self.wait = str(address), max_edge, retries, wait
        self.problems: dict[int, str] = {}
        self.times: list[float] = []
        self.fps: float | None = None
        self.stream: Iterator[tuple[float | None, np.ndarray]] = self.decode()
        self.first = next(self.stream, None)
        if self.first is None:
            raise DataError(f'{self.describe()} contains no frame')
        self.size = self.original = self.first[1].shape[:2]

    def describe(self) -> str:
        """The source as the beginning of a sentence, without passwords."""
        if self.address == '-':
            return 'the standard input'
        return f'camera {self.address}' if self.address.isdecimal() else public_address(self.address)

    @property
    def can_be_reopened(self) -> bool:
        """Whether the source goes on where it is when it is opened again."""
        return self.address != '-' and urlsplit(self.address).scheme.lower() not in FILES

    def open(self) -> Any:
        """Opens the source."""
        if self.address == '-':
            return av.open(sys.stdin.buffer)
        if self.address.isdecimal():
            if not Path(f'/dev/video{self.address}').exists():
                raise DataError(f'there is no camera {self.address} (/dev/video{self.address} does not exist)')
            return av.open(f'/dev/video{self.address}', format='v4l2')
        return av.open(self.address, timeout=TIMEOUT)

    def decode(self) -> Iterator[tuple[float | None, np.ndarray]]:
        """Yields time in seconds, if known, and pixels (H, W, 3); opens the source again if it is lost."""
        attempt, received, reason = 0, 0, ''
        while True:
            since = 0
            try:
                with self.open() as container:
                    for item in self.decode_once(container):
                        if isinstance(item, DamagedPacket):
                            self.problems[received] = f'a part of the video cannot be decoded ({item.reason})'
                            continue
                        if item[2]:
                            self.problems[received] = 'the decoder flagged the frame as damaged'
                        received, since = received + 1, since + 1
                        attempt = 0 if since >= STABLE else attempt
                        yield item[:2]
                return
            except (av.error.FFmpegError, OSError, DataError) as error:
                reason = str(error)
                if not received:
                    raise DataError(f'{self.describe()} cannot be read as a video ({reason})') from None
            attempt += 1
            if attempt > self.retries or not self.can_be_reopened:
                break
            LOGGER.warning('%s was lost after %d frames (%s); opening it again', self.describe(), received, reason)
            self.problems[received] = f'the source was lost ({reason}) and opened again'
            time.sleep(self.wait)
        self.end(received, f'the source was lost ({reason})')

    def decode_once(self, container: Any) -> Iterator[DamagedPacket | tuple[float | None, np.ndarray, bool]]:
        """Yields time, pixels and whether it is damaged of each frame, or what cannot be decoded."""
        if not container.streams.video:
            raise DataError(f'{self.describe()} contains no video stream')
        self.fps = self.fps or as_float(container.streams.video[0].average_rate)
        for frame in decode_video(container):
            if isinstance(frame, DamagedPacket):
                yield frame
            else:
                yield frame.time, to_rgb(frame, self.max_edge), frame.is_corrupt

    def end(self, index: int, problem: str) -> None:
        """Notes and logs why the video ends before frame ``index``."""
        self.problems[index] = problem
        LOGGER.warning('%s: %s; the video ends after %d frames', self.describe(), problem, index)

    def next_frame(self) -> np.ndarray | None:
        """The next frame, whose time is noted; None at the end."""
        item, self.first = (next(self.stream, None) if self.first is None else self.first), None
        if item is None:
            return None
        seconds, frame = item
        if frame.shape[:2] != self.size:
            self.end(len(self.times), f'the size of the frames changes from {self.size} to {frame.shape[:2]}')
            self.close()
            return None
        self.note_time(seconds)
        return frame

    def note_time(self, seconds: float | None) -> None:
        """Appends the time of a frame; clocks that stand still or jump back are continued at the frame rate."""
        if not self.times:
            self.start = seconds or 0.0
            self.times.append(0.0)
            return
        step, elapsed = 1 / (self.fps or 24.0), None if seconds is None else seconds - self.start
        if elapsed is None or elapsed <= self.times[-1]:
            elapsed = self.times[-1] + step
            self.start = self.start if seconds is None else seconds - elapsed
        self.times.append(elapsed)

    def read(self, number: int) -> Tensor:
        """The next frames (t, 3, H, W) uint8, at most ``number``; (0, 3, H, W) at the end."""
        frames: list[np.ndarray] = []
        while len(frames) < number and (frame := self.next_frame()) is not None:
            frames.append(frame)
        return frames_to_tensor(frames or [np.zeros((*self.size, 3), np.uint8)])[: len(frames)]

    def close(self) -> None:
        """Closes the source; no frame follows."""
        self.stream.close()  # type: ignore[attr-defined]
        self.stream, self.first = iter(()), None


def as_float(rate: Any) -> float | None:
    """A frame rate as a number; None if it is unknown."""
    return float(rate) if rate else None


def public_address(url: str) -> str:
    """A URL without user, password and query."""
    parts = urlsplit(url)
    return f'{parts.scheme}://{parts.netloc.rpartition("@")[2]}{parts.path}'


def is_live(address: str) -> bool:
    """Whether a source is a camera number, a URL or ``-``, and not the path of a file or folder."""
    return address == '-' or bool(ADDRESS.match(address)) or (address.isdecimal() and not Path(address).exists())


def source_name(address: str | Path) -> str:
    """Name of a source, for its folder of results: that of the folder, or of the file without suffix."""
    text = str(address)
    if not is_live(text):
        path = Path(os.path.abspath(text))  # a link keeps its own name
        return path.name if path.is_dir() else path.stem
    if text == '-':
        return 'stdin'
    if text.isdecimal():
        return f'camera_{text}'
    query = urlsplit(text).query
    mark = f'_{hashlib.sha1(query.encode()).hexdigest()[:6]}' if query else ''  # queries may hold passwords
    return re.sub(r'[^\w.-]+', '_', public_address(text).split('://', 1)[1]).strip('_.') + mark


def open_source(address: str | Path, max_edge: int | None = None) -> FrameSource | LiveFrames:
    """Opens a video file, folder of frames, image, camera (its number), URL, or ``-`` (the standard input).

    Frames of files that cannot be used are replaced by the frame before; ``problems`` of the source lists them.

    Args:
        address: The source.
        max_edge: Longer edge in pixels to which larger frames are reduced; None keeps the size.

    Raises:
        DataError: The source is none of these, or cannot be read.
    """
    if is_live(str(address)):
        return LiveFrames(str(address), max_edge)
    return open_frames(address, max_edge, on_error='repeat')


def read_clips(source: FrameSource | LiveFrames, clip_len: int) -> Iterator[Tensor]:
    """Yields the frames of a source in clips (t, 3, H, W) uint8 of ``clip_len``; the last one may be shorter."""
    if isinstance(source, LiveFrames):
        while len(frames := source.read(clip_len)):
            yield frames
        return
    for start in range(0, len(source), clip_len):
        yield source.read(start, min(start + clip_len, len(source)))


def known_length(source: FrameSource | LiveFrames) -> int | None:
    """Number of frames of a source; None if it is not known in advance."""
    return None if isinstance(source, LiveFrames) else len(source)
