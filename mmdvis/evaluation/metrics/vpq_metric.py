"""MMEngine metrics for Video Panoptic Quality and for image Panoptic Quality (videos of one frame)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric

from mmdvis.evaluation.files.image_files import image_ground_truth
from mmdvis.evaluation.files.scoring import pq_figures
from mmdvis.evaluation.functional.frame_table import FrameTable
from mmdvis.evaluation.functional.vpq import IMAGE_RULES, WindowCounts, count_video, summarize_vpq
from mmdvis.registry import METRICS

from .panoptic_video import PanopticVideoMetric, frame_segments, result_tables


@METRICS.register_module()
class VPQMetric(PanopticVideoMetric):
    """VPQ of each window length, and their mean.

    Args:
        windows: Window lengths in frames that are averaged in ``VPQ``. None: the windows of the flavour (VIPSeg: 1, 2,
            4, 6); for VIPSeg, the mean over 1, 2, 4, 6 and 8, which its published script prints, is reported as
            ``VPQ_12468``.
        exclude_classes: Category ids excluded from all means (the public VIPER code excludes 11).
        **kwargs: Arguments of :class:`PanopticVideoMetric`.
    """

    def __init__(
        self, windows: Sequence[int] | None = None, exclude_classes: Sequence[int] = (), **kwargs: object
    ) -> None:
        super().__init__(**kwargs)
        if windows is not None and (not windows or min(windows) < 1):
            raise ValueError(f'windows must be lengths of at least one frame, got {tuple(windows)}')
        self.windows = self.flavour.windows if windows is None else {f'VPQ{k}': k for k in windows}
        self.averaged = self.flavour.averaged if windows is None else tuple(self.windows)
        self.is_thing = {c: thing for c, thing in self.truth.is_thing.items() if c not in exclude_classes}

    def count(self, tables: list[FrameTable]) -> dict[int, WindowCounts]:
        """Counts for each window length."""
        return count_video(tables, list(self.windows.values()), self.flavour.rules)

    def compute_metrics(self, results: list[dict[int, WindowCounts]]) -> dict[str, float]:
        """Metrics in [0, 1]: ``VPQ``, ``VPQ_Th``, ``VPQ_St``, the same per window, and ``VPQ_12468`` for VIPSeg."""
        total = {k: sum((video[k] for video in results), WindowCounts()) for k in results[0]}
        return summarize_vpq(total, self.is_thing, self.windows, self.averaged)


@METRICS.register_module()
class PanopticQualityMetric(BaseMetric):
    """PQ, SQ and RQ of images, equivalent to panopticapi.

    Args:
        gt_json: JSON file of the official ground truth in COCO's panoptic layout.
        gt_dir: Folder with the PNGs of the ground truth.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See :class:`mmengine.evaluator.BaseMetric`.
    """

    def __init__(self, gt_json: str, gt_dir: str, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.truth = image_ground_truth(Path(gt_json), Path(gt_dir))

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Counts each image, which is a video of one frame named by its image id."""
        for sample in data_samples:
            result = sample['pred_panoptic']
            maps = result.id_map.numpy()
            segments = frame_segments(maps, result.segments, self.dataset_meta['category_ids'])
            tables = result_tables(self.truth, str(sample['video_id']), maps, segments, merge=False)
            self.results.append(count_video(tables, (1,), IMAGE_RULES)[1])

    def compute_metrics(self, results: list[WindowCounts]) -> dict[str, float]:
        """Metrics in [0, 1]."""
        return pq_figures(sum(results, WindowCounts()), self.truth.is_thing)
