"""Writes H.264 videos that can be played in browsers."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np


class VideoWriter:
    """Context manager that writes a video frame by frame; the file is created only if no error occurs.

    Args:
        path: Path of the ``.mp4`` file.
        fps: Frames per second.
    """

    def __init__(self, path: str | Path, fps: float = 24.0) -> None:
        self.path, self.rate = Path(path), Fraction(fps).limit_denominator(1001)
        self.temporary = self.path.with_name(f'.{self.path.stem}.part.mp4')
        self.container: Any = None
        self.stream: Any = None

    def __enter__(self) -> 'VideoWriter':
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.container = av.open(str(self.temporary), 'w', options={'movflags': 'faststart'})
        return self

    def write(self, frame: np.ndarray) -> None:
        """Appends a frame (H, W, 3) uint8 RGB.

        An odd size is padded by repeating the last row or column, because the codec requires even sizes.
        """
        frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode='edge')
        if self.stream is None:
            self.stream = self.container.add_stream(
                'libx264', rate=self.rate, options={'crf': '20', 'preset': 'veryfast'}
            )
            self.stream.height, self.stream.width = frame.shape[:2]
            self.stream.pix_fmt = 'yuv420p'
        for packet in self.stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='rgb24')):
            self.container.mux(packet)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if kind is None and self.stream is not None:
            for packet in self.stream.encode():
                self.container.mux(packet)
        self.container.close()
        if kind is None and self.stream is not None:
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink(missing_ok=True)
