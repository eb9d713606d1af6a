"""Writes a video with the results drawn in, for every test video."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image

from mmdvis.io import VideoWriter
from mmdvis.registry import HOOKS

from .visualizer import draw_panoptic


@HOOKS.register_module()
class DrawResultsHook(Hook):
    """Draws panoptic results.

    Args:
        out_dir: folder of ``<video>.mp4``.
        fps: of the videos whose source does not say.
    """

    def __init__(self, out_dir: str, fps: float = 6.0) -> None:
        self.out_dir, self.fps = Path(out_dir), fps

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Draws the videos of the batch, reading their frames one at a time."""
        classes = runner.test_dataloader.dataset.metainfo['classes']
        for source, sample in zip(data_batch['inputs'], outputs):
            result = sample.pred_panoptic
            with VideoWriter(self.out_dir / f'{sample.video_id}.mp4', source.fps or self.fps) as writer:
                for t, id_map in enumerate(result.id_map.numpy()):
                    frame = source.read(t, t + 1)[0].permute(1, 2, 0).numpy()
                    frame = np.asarray(Image.fromarray(frame).resize(id_map.shape[::-1], Image.BILINEAR))
                    writer.write(draw_panoptic(frame, id_map, result.segments, classes))
