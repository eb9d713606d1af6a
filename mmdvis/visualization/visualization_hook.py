"""Writes a video with the results drawn in for every test video."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdvis.checks import path_inside
from mmdvis.io import VideoWriter, original_frames
from mmdvis.registry import HOOKS
from mmdvis.results import VideoDataSample, VideoResult

from .visualizer import ResultVisualizer

FIELDS = ('pred_panoptic', 'pred_instances', 'pred_semantic')


@HOOKS.register_module()
class VideoVisualizationHook(Hook):
    """Draws the results of any task into the frames at their original size.

    Args:
        out_dir: folder of ``<video>.mp4``.
        fps: frame rate of videos whose source has none.
    """

    def __init__(self, out_dir: str, fps: float = 6.0) -> None:
        self.out_dir, self.fps = Path(out_dir), fps

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Draws the videos of the batch, reading their frames one at a time."""
        for source, sample in zip((data_batch or {})['inputs'], outputs or ()):
            result, frames = result_of(sample), original_frames(source)
            visualizer = ResultVisualizer(result.classes)
            with VideoWriter(path_inside(self.out_dir, str(sample.video_id), '.mp4'), source.fps or self.fps) as writer:
                first = len(source) - result.num_frames  # earlier frames are only context for the model
                for t in range(result.num_frames):
                    picture = frames.read(first + t, first + t + 1)[0].permute(1, 2, 0).numpy()
                    writer.write(visualizer.draw(picture, result.frame(t)))


def result_of(sample: VideoDataSample) -> VideoResult:
    """The result that a sample carries."""
    return next(sample.get(name) for name in FIELDS if name in sample)
