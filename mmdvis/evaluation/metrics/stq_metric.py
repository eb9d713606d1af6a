"""Segmentation and tracking quality in mmengine's loops."""

from mmdvis.evaluation.functional.frame_table import FrameTable
from mmdvis.evaluation.functional.stq import SUFFIXES, STQCounts, count_stq, figures
from mmdvis.registry import METRICS

from .panoptic_video import PanopticVideoMetric


@METRICS.register_module()
class STQMetric(PanopticVideoMetric):
    """``STQ``, ``AQ``, ``SQ`` as the published script numbers instances, and ``*_corrected``.

    The script counts instances from 0 and takes number 0 for a crowd, so it leaves out a thing that a video's json lists
    first. The corrected figures count from 1 and leave out what the ground truth marks as crowd.
    """

    def count(self, tables: list[FrameTable]) -> dict[str, STQCounts]:
        """Counts with both numberings."""
        return {suffix: count_stq(tables, self.truth.is_thing, name) for name, suffix in SUFFIXES.items()}

    def compute_metrics(self, results: list[dict[str, STQCounts]]) -> dict[str, float]:
        """Fractions."""
        return figures(results)
