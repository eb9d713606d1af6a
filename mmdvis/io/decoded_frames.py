"""Frames as PyAV decodes them, turned upright and reduced to a size limit."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.codec.context import Flags


@dataclass(frozen=True)
class DamagedPacket:
    """A part of a video that the decoder refuses.

    Attributes:
        reason: Message of the decoder.
    """

    reason: str


def to_rgb(frame: av.VideoFrame, max_edge: int | None = None) -> np.ndarray:
    """A decoded frame as uint8 RGB (H, W, 3), in the orientation of its display matrix.

    Args:
        frame: The frame.
        max_edge: Longer edge in pixels to which larger frames are reduced; None keeps the size.
    """
    width, height = frame.width, frame.height
    if max_edge is not None and max(width, height) > max_edge:
        scale = max_edge / max(width, height)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = frame.to_ndarray(format='rgb24', width=width, height=height)
    return np.rot90(pixels, round(frame.rotation / 90)) if frame.rotation else pixels


def decode_video(container: Any) -> Iterator[av.VideoFrame | DamagedPacket]:
    """Yields the frames of the first video stream; damaged ones have ``is_corrupt`` set.

    A :class:`DamagedPacket` stands for data that the decoder refuses; it goes on with what follows.
    """
    stream = container.streams.video[0]
    stream.codec_context.flags |= Flags.output_corrupt
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError as error:
            yield DamagedPacket(error.strerror or str(error))
