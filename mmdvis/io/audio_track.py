"""Copies the sound of a video into another file."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

LOGGER = logging.getLogger('mmdvis')

MP4_CODECS = ('aac', 'mp3', 'ac3', 'eac3', 'alac', 'opus', 'flac')  # copied as they are; others are encoded as AAC


def has_audio(path: Path) -> bool:
    """Whether a file contains sound; False also for files that cannot be read."""
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.audio)
    except (av.error.FFmpegError, OSError):
        return False


AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


def open_audio(path: Path, output: Any) -> 'AudioTrack | None':
    """The sound of a file for an output container; None, with a warning, if it cannot be written."""
    try:
        return AudioTrack(path, output)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        LOGGER.warning('the sound of %s cannot be written (%s), so the video is silent', path, error)
        return None


class AudioTrack:
    """The sound of a file, added to an output container in step with its video.

    Args:
        path: Path of a file with sound.
        output: Container to write to.
    """

    def __init__(self, path: Path, output: Any) -> None:
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
                for frame in packet.decode():
                    frame.pts, frame.time_base = samples, Fraction(1, frame.sample_rate)
                    samples += frame.samples
                    yield from ((self.seconds(coded), coded) for coded in self.target.encode(frame))
        if not self.is_copied:
            yield from ((self.seconds(coded), coded) for coded in self.target.encode())

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
