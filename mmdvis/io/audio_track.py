"""Copies the sound of a video into another file."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

LOGGER = logging.getLogger('mmdvis')

MP4_CODECS = ('aac', 'mp3', 'ac3', 'eac3', 'alac', 'opus', 'flac')  # copied as they are; others are encoded as AAC


def has_audio(path: Path) -> bool:
    """Whether a file contains sound; False also for files that cannot be read."""
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.audio)
    except (av.error.FFmpegError, OSError):
        return False


MAX_GAP = 0.05  # seconds; longer gaps are filled with silence, and samples that are earlier by more are dropped
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


def open_audio(path: Path, output: Any) -> 'AudioTrack | None':
    """The sound of a file for an output container; None, with a warning, if it cannot be written."""
    try:
        return AudioTrack(path, output)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        LOGGER.warning('the sound of %s cannot be written (%s), so the video is silent', path, error)
        return None


def in_step(frame: Any, gap: int) -> Iterator[Any]:
    """Aligns an audio frame with the output: yields silence for a gap before it, or drops samples that are too early.

    Args:
        frame: Audio frame.
        gap: Number of samples between the end of the output and the start of the frame; negative if the frame starts
            before the video.
    """
    if abs(gap) <= MAX_GAP * frame.sample_rate:
        yield frame
        return
    if gap < 0:
        if -gap < frame.samples:
            yield excerpt(frame, frame.to_ndarray()[:, -gap * columns(frame) :])
        return
    second = np.full_like(frame.to_ndarray()[:, :1], 128 if frame.format.name.startswith('u8') else 0)
    second = second.repeat(frame.sample_rate * columns(frame), 1)
    for start in range(0, gap, frame.sample_rate):
        yield excerpt(frame, second[:, : (gap - start) * columns(frame)])
    yield frame


def columns(frame: Any) -> int:
    """Number of array columns per sample of an audio frame: the number of channels if packed, 1 if planar."""
    return 1 if frame.format.is_planar else len(frame.layout.channels)


def excerpt(frame: Any, values: np.ndarray) -> Any:
    """Creates an audio frame from an array, with the format, layout and rate of another frame."""
    made = av.AudioFrame.from_ndarray(np.ascontiguousarray(values), frame.format.name, frame.layout.name)
    made.sample_rate = frame.sample_rate
    return made


class AudioTrack:
    """The sound of a file, added to an output container in step with its video.

    Args:
        path: Path of a file with sound.
        output: Container to write to.
    """

    def __init__(self, path: Path, output: Any) -> None:
        self.path, self.is_damaged = path, False
        self.output, self.container = output, av.open(str(path))
        self.source = self.container.streams.audio[0]
        self.is_copied = self.source.codec_context.codec.canonical_name in MP4_CODECS
        if self.is_copied:
            self.target = output.add_stream_from_template(self.source)
        else:
            rate = self.source.codec_context.sample_rate
            self.target = output.add_stream('aac', rate=rate if rate in AAC_RATES else 48000)
            self.target.open()  # fails early
        video = self.container.streams.video
        begin = video[0].start_time if video else None
        self.start = float(begin * video[0].time_base) if begin and video[0].time_base else 0.0
        self.packets = self.read()
        self.waiting = next(self.packets, None)

    def read(self) -> Iterator[tuple[float, Any]]:
        """Yields the encoded packets with their times in seconds."""
        samples = 0
        for packet in self.container.demux(self.source):
            if self.is_copied and packet.dts is not None and packet.pts is not None:
                offset = round(self.start / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - offset, packet.dts - offset, self.target
                if packet.dts >= 0:
                    yield float(packet.dts * packet.time_base), packet
            elif not self.is_copied:
                for frame in self.decoded(packet):
                    begin = samples if frame.time is None else round((frame.time - self.start) * frame.sample_rate)
                    gap = begin - samples if samples == 0 or begin > samples else 0  # keeps joined files
                    for part in in_step(frame, gap):
                        part.pts, part.time_base = samples, Fraction(1, part.sample_rate)
                        samples += part.samples
                        yield from ((self.seconds(coded), coded) for coded in self.target.encode(part))
        if not self.is_copied:
            yield from ((self.seconds(coded), coded) for coded in self.target.encode())

    def decoded(self, packet: Any) -> list[Any]:
        """Decodes a packet into audio frames. A damaged packet yields none and is later replaced by silence."""
        try:
            return packet.decode()
        except av.error.FFmpegError as error:
            if not self.is_damaged:
                LOGGER.warning('the sound of %s is damaged (%s), so parts of it are silent', self.path, error)
            self.is_damaged = True
            return []

    @staticmethod
    def seconds(packet: Any) -> float:
        """Time of an encoded packet."""
        return float(packet.pts * packet.time_base)

    def write_until(self, seconds: float) -> None:
        """Writes the sound up to a time."""
        while self.waiting is not None and self.waiting[0] <= seconds:
            self.output.mux(self.waiting[1])
            self.waiting = next(self.packets, None)

    def close(self) -> None:
        """Closes the source."""
        self.container.close()
