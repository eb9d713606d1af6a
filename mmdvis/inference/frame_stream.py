"""Segments frames that arrive one by one as NumPy arrays."""

from dataclasses import replace

import numpy as np
import torch

from mmdvis.checks import check_choice
from mmdvis.results import FrameResult

from .keyframes import KeyframeStream
from .video_stream import VideoStream


class FrameStream:
    """A stream for single frames or batches of frames; identities persist across calls.

    Args:
        stream: New stream of clips, or of keyframes.
        channels: Order of the colour channels, ``'rgb'`` or ``'bgr'`` (OpenCV).

    Raises:
        ValueError: ``channels`` is not one of these.
    """

    def __init__(self, stream: VideoStream | KeyframeStream, channels: str = 'rgb') -> None:
        check_choice('channels', channels, ('rgb', 'bgr'))
        self.clips, self.channels, self.number = stream, channels, 0

    def push(self, frame: np.ndarray) -> FrameResult:
        """Segments the next frame.

        Args:
            frame: (H, W, 3) uint8.

        Raises:
            ValueError: The array has another shape or type.
        """
        return self.push_batch(np.asarray(frame)[None])[0]

    def push_batch(self, frames: np.ndarray) -> list[FrameResult]:
        """Segments the next frames.

        Args:
            frames: (t, H, W, 3) uint8.

        Raises:
            ValueError: The array has another shape or type.
        """
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise ValueError(
                f'a frame must be a uint8 array (height, width, 3), got {frames.dtype} {tuple(frames.shape[1:])}; '
                'convert images of other types first'
            )
        rgb = frames if self.channels == 'rgb' else frames[..., ::-1]
        images = np.array(rgb, order='C')  # a copy, because callers may reuse the array
        result = self.clips.push(torch.from_numpy(images).permute(0, 3, 1, 2))
        first, self.number = self.number, self.number + len(images)
        return [replace(result.frame(t), index=first + t, image=image) for t, image in enumerate(images)]
