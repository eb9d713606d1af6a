"""Sources of unknown length: cameras, network streams and pipes."""

import logging
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from torch import Tensor

from mmdvis.errors import DataError
from mmdvis.structures import FrameSource

from .arrays import frames_to_tensor
from .decoded_frames import decode_video, to_rgb
from .frame_sources import open_frames

LOGGER = logging.getLogger('mmdvis')
ADDRESS = re.compile(r'^[a-z][a-z0-9+.-]+://', re.IGNORECASE)
TIMEOUT = 10.0  # seconds without data after which a network stream counts as lost


class LiveFrames:
    """Frames of a camera, a network stream or a pipe, which are read once and in order.

    A camera or stream that is lost is opened again. If this fails, the video ends, and ``problems`` says why.

    Args:
        address: Number of a camera, URL (``rtsp://``, ``http://``, ...), or ``-`` for the standard input.
        max_edge: Longer edge in pixels to which larger frames are reduced; None keeps the size.
        retries: How often a lost source is opened again in a row.
        wait: Seconds before each attempt.

    Attributes:
        size, original: (height, width) of the frames.
        fps: Frames per second; None if unknown.
        problems: Frame index -> message, for damaged frames and interruptions.

    Raises:
        DataError: The source cannot be opened, or contains no video.
    """

    def __init__(self, address: str | int, max_edge: int | None = None, retries: int = 3, wait: float = 1.0) -> None:
        self.address, self.max_edge, self.retries, self.wait = str(address), max_edge, retries, wait
        self.problems: dict[int, str] = {}
        self.position = 0
        self.fps: float | None = None
        self.stream: Iterator[np.ndarray] = self.decode()
        self.first = next(self.stream, None)
        if self.first is None:
            raise DataError(f'{self.describe()} contains no frame')
        self.size = self.original = self.first.shape[:2]

    def describe(self) -> str:
        """The source as the beginning of a sentence."""
        if self.address == '-':
            return 'the standard input'
        return f'camera {self.address}' if self.address.isdecimal() else self.address

    def open(self) -> Any:
        """Opens the source."""
        if self.address == '-':
            return av.open(sys.stdin.buffer)
        if self.address.isdecimal():
            if not Path(f'/dev/video{self.address}').exists():
                raise DataError(f'there is no camera {self.address} (/dev/video{self.address} does not exist)')
            return av.open(f'/dev/video{self.address}', format='v4l2')
        return av.open(self.address, timeout=TIMEOUT)

    def decode(self) -> Iterator[np.ndarray]:
        """Yields the frames (H, W, 3) uint8 RGB; opens the source again when it is lost."""
        attempt, received = 0, 0
        while True:
            try:
                with self.open() as container:
                    if not container.streams.video:
                        raise DataError(f'{self.describe()} contains no video stream')
                    self.fps = self.fps or as_float(container.streams.video[0].average_rate)
                    for frame in decode_video(container):
                        if frame.is_corrupt:
                            self.problems[received] = 'the decoder flagged the frame as damaged'
                        received, attempt = received + 1, 0
                        yield to_rgb(frame, self.max_edge)
                return
            except (av.error.FFmpegError, OSError) as error:
                reason = str(error)
            attempt += 1
            if attempt > self.retries or self.address == '-' or not received:
                break
            LOGGER.warning('%s was lost after %d frames (%s); opening it again', self.describe(), received, reason)
            self.problems[received] = f'the source was lost ({reason}) and opened again'
            time.sleep(self.wait)
        if not received:
            raise DataError(f'{self.describe()} cannot be read as a video ({reason})')
        self.problems[received] = f'the source was lost ({reason})'
        LOGGER.warning('%s was lost after %d frames (%s); the video ends there', self.describe(), received, reason)

    def read(self, number: int) -> Tensor:
        """The next frames (t, 3, H, W) uint8, at most ``number``; (0, 3, H, W) at the end.

        Raises:
            DataError: The size of the frames changes.
        """
        frames = [] if self.first is None else [self.first]
        self.first = None
        while len(frames) < number:
            frame = next(self.stream, None)
            if frame is None:
                break
            if frame.shape[:2] != self.size:
                raise DataError(
                    f'frame {self.position + len(frames)} of {self.describe()} is {frame.shape[:2]} (height, width), '
                    f'but the first frame is {self.size}; all frames of a video must have the same size'
                )
            frames.append(frame)
        self.position += len(frames)
        return frames_to_tensor(frames or [np.zeros((*self.size, 3), np.uint8)])[: len(frames)]


def as_float(rate: Any) -> float | None:
    """A frame rate as a number; None if it is unknown."""
    return float(rate) if rate else None


def is_live(address: str) -> bool:
    """Whether a source is a camera number, a URL or ``-``, and not the path of a file or folder."""
    return address == '-' or bool(ADDRESS.match(address)) or (address.isdecimal() and not Path(address).exists())


def source_name(address: str | Path) -> str:
    """Name of a source, for its folder of results: that of the file or folder without suffix."""
    text = str(address)
    if not is_live(text):
        return Path(text).resolve().stem
    if text == '-':
        return 'stdin'
    return (
        f'camera_{text}'
        if text.isdecimal()
        else re.sub(r'[^\w.-]+', '_', text.split('://', 1)[1].split('?')[0]).strip('_.')
    )


def open_source(address: str | Path, max_edge: int | None = None) -> FrameSource | LiveFrames:
    """Opens a video file, folder of frames, image, camera (its number), URL, or ``-`` (the standard input).

    Args:
        address: The source.
        max_edge: Longer edge in pixels to which larger frames are reduced; None keeps the size.

    Raises:
        DataError: The source is none of these, or cannot be read.
    """
    return LiveFrames(str(address), max_edge) if is_live(str(address)) else open_frames(address, max_edge)


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
