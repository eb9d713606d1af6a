"""MMEngine metric for Segmentation and Tracking Quality."""

from mmdvis.evaluation.functional.frame_table import FrameTable
from mmdvis.evaluation.functional.stq import SUFFIXES, STQCounts, count_stq, figures
from mmdvis.registry import METRICS

from .panoptic_video import PanopticVideoMetric


@METRICS.register_module()
class STQMetric(PanopticVideoMetric):
    """``STQ``, ``AQ`` and ``SQ`` with the instance numbering of the published script, and ``*_corrected``.

    The script numbers instances from 0 and treats number 0 as a crowd, so it ignores the thing that is listed first in
    the JSON file of a video. The corrected metrics number instances from 1 and ignore the segments that the ground
    truth marks as crowd.
    """

    reads_areas = False

    def count(self, tables: list[FrameTable]) -> dict[str, STQCounts]:
        """Counts with both instance numberings."""
        return {suffix: count_stq(tables, self.truth.is_thing, name) for name, suffix in SUFFIXES.items()}

    def compute_metrics(self, results: list[dict[str, STQCounts]]) -> dict[str, float]:
        """Metrics in [0, 1]."""
        return figures(results)
