"""A video with the results drawn in."""

from pathlib import Path

import numpy as np

from mmdvis.io import VideoWriter
from mmdvis.results import FrameResult
from mmdvis.visualization import ResultVisualizer

from .video_info import VideoInfo


class DrawnVideo:
    """Writes ``video.mp4`` with the sound of the source.

    Args:
        folder: Folder to write to.
        info: Name, size, timing and classes of the video.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self.info, self.count = info, 0
        self.visualizer = ResultVisualizer(info.classes, **info.drawing)
        self.video = VideoWriter(folder / 'video.mp4', info.fps, info.audio).__enter__()

    def write(self, picture: np.ndarray, result: FrameResult) -> None:
        """Draws the next frame."""
        self.video.write(self.visualizer.draw(picture, result), self.info.variable_time(self.count))
        self.count += 1

    def close(self, is_complete: bool) -> None:
        """Finishes the video."""
        self.video.__exit__(None if is_complete else RuntimeError, None, None)
