"""Video panoptic quality in mmengine's loops."""
from typing import Dict, List, Sequence

from mmdvis.evaluation.functional.frame_table import FrameTable
from mmdvis.evaluation.functional.vpq import WindowCounts, count_video, summarise
from mmdvis.registry import METRICS

from .panoptic_video import PanopticVideoMetric

SCRIPT_WINDOWS = (1, 2, 4, 6, 8)  # what the published script averages


@METRICS.register_module()
class VPQMetric(PanopticVideoMetric):
    """VPQ of each window length, and their mean.

    Args:
        windows: lengths in frames that enter ``VPQ``; the challenge tables use 1, 2, 4, 6. The mean over 1, 2, 4, 6, 8,
            which the published script prints, is reported as ``VPQ_12468``.
        **kwargs: of :class:`PanopticVideoMetric`.
    """

    def __init__(self, windows: Sequence[int] = (1, 2, 4, 6), **kwargs: object) -> None:
        super().__init__(**kwargs)
        if not windows or min(windows) < 1:
            raise ValueError(f'windows must be lengths of at least one frame, got {tuple(windows)}')
        self.windows = tuple(windows)

    def count(self, tables: List[FrameTable]) -> Dict[int, WindowCounts]:
        """Counts of every window length."""
        return count_video(tables, sorted({*self.windows, *SCRIPT_WINDOWS}))

    def compute_metrics(self, results: List[Dict[int, WindowCounts]]) -> Dict[str, float]:
        """Fractions: ``VPQ``, ``VPQ_Th``, ``VPQ_St``, the same of every window, and ``VPQ_12468``."""
        total = {k: sum((video[k] for video in results), WindowCounts()) for k in results[0]}
        script = summarise(total, self.truth.is_thing, SCRIPT_WINDOWS)
        return dict(summarise(total, self.truth.is_thing, self.windows), VPQ_12468=script['VPQ'])
