"""Writes H.264 videos that can be played in browsers."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from .audio_track import AudioTrack, open_audio

TIME_BASE = Fraction(1, 90_000)  # of videos with a variable frame rate
# limited range, matrix of BT.601, primaries and transfer of BT.709
COLOURS = dict(color_range=1, colorspace=6, color_primaries=1, color_trc=1)


class VideoWriter:
    """Context manager that writes a video frame by frame; the file is created only if no error occurs.

    Args:
        path: Path of the ``.mp4`` file.
        fps: Frames per second.
        audio: Path of a video whose sound is added; None for a silent video.
        crf: Constant rate factor of the encoder, lower is better and larger.
    """

    def __init__(self, path: str | Path, fps: float = 24.0, audio: Path | None = None, crf: int = 20) -> None:
        self.path, self.rate = Path(path), Fraction(fps).limit_denominator(1001)
        self.temporary = self.path.with_name(f'.{self.path.stem}.part.mp4')
        self.audio_path, self.crf, self.count = audio, crf, 0
        self.stamp, self.held = -1, None  # of videos with a variable frame rate: latest time, and its packet
        self.audio: AudioTrack | None = None
        self.container: Any = None
        self.stream: Any = None

    def __enter__(self) -> 'VideoWriter':
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.container = av.open(str(self.temporary), 'w', options={'movflags': 'faststart'})
        return self

    def start(self, height: int, width: int, is_variable: bool) -> None:
        """Adds the streams, once the size of the frames is known."""
        options = {'crf': str(self.crf), 'preset': 'veryfast', **({'bf': '0'} if is_variable else {})}
        self.stream = self.container.add_stream('libx264', rate=self.rate, options=options)
        self.stream.height, self.stream.width = height, width
        self.stream.pix_fmt = 'yuv420p'
        for name, value in COLOURS.items():
            setattr(self.stream.codec_context, name, value)
        if is_variable:
            self.stream.codec_context.time_base = TIME_BASE
        if self.audio_path is not None:
            self.audio = open_audio(self.audio_path, self.container)

    def write(self, frame: np.ndarray, time: float | None = None) -> None:
        """Appends a frame (H, W, 3) uint8 RGB.

        An odd size is padded by repeating the last row or column, because the codec requires even sizes.

        Args:
            frame: The frame.
            time: Time in seconds from the first frame, for videos with a variable frame rate; either all frames have
                one or none.
        """
        frame = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode='edge')
        if self.stream is None:
            self.start(frame.shape[0], frame.shape[1], is_variable=time is not None)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format='rgb24')
        if time is not None:
            self.stamp = max(round(time / TIME_BASE), self.stamp + 1)
            picture.pts, picture.time_base = self.stamp, TIME_BASE
        self.mux(self.stream.encode(picture), time is not None)
        if self.audio is not None:
            self.audio.write_until(self.count / float(self.rate) if time is None else time)
        self.count += 1

    def mux(self, packets: list[Any], is_variable: bool) -> None:
        """Writes encoded packets; with a variable rate, each lasts until the next one."""
        for packet in packets:
            if is_variable:
                if self.held is not None:
                    self.held.duration = packet.pts - self.held.pts
                    self.container.mux(self.held)
                self.held = packet
            else:
                self.container.mux(packet)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        is_complete = kind is None and self.stream is not None
        if is_complete:
            self.mux(self.stream.encode(), self.stamp >= 0)
            if self.held is not None:
                self.held.duration = round(1 / self.rate / TIME_BASE)
                self.container.mux(self.held)
        if self.audio is not None:
            if is_complete:
                self.audio.write_until((self.count + 1) / float(self.rate))
            self.audio.close()
        self.container.close()
        if is_complete:
            os.replace(self.temporary, self.path)
        else:
            self.temporary.unlink(missing_ok=True)
