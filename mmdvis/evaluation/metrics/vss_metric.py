"""MMEngine metric for video semantic segmentation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmdvis.evaluation.files.pngs import read_labels
from mmdvis.evaluation.files.vspw_files import mask_files
from mmdvis.evaluation.functional import vss
from mmdvis.registry import METRICS


@METRICS.register_module()
class VSSMetric(BaseMetric):
    """IoU, accuracy and video consistency; see :func:`mmdvis.evaluation.functional.vss.summarize_vss`.

    Args:
        gt_root: Folder of VSPW with ``data/<video>/mask/<frame>.png``.
        num_classes: Number of classes K; None uses the number of classes of the model.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See :class:`mmengine.evaluator.BaseMetric`.
    """

    def __init__(
        self, gt_root: str, num_classes: int | None = None, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device, prefix)
        self.gt_root, self.num_classes = Path(gt_root), num_classes

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Counts each video immediately; only the counts are kept in memory.

        Raises:
            ValueError: The number of frames or their size differs from the ground truth.
        """
        categories = np.asarray(self.dataset_meta['category_ids'])
        num_classes = len(categories) if self.num_classes is None else self.num_classes
        for sample in data_samples:
            name, maps = sample['video_id'], categories[sample['pred_semantic'].label_map]
            masks = mask_files(self.gt_root, name)
            if len(masks) != len(maps):
                raise ValueError(
                    f'video {name} has {len(masks)} masks in {self.gt_root}, but the prediction has {len(maps)} frames'
                )
            size = read_labels(masks[0]).shape
            if maps.shape[1:] != size:
                raise ValueError(
                    f'video {name} has masks of {size} (height, width), but the prediction is {maps.shape[1:]}'
                )
            gt_maps = (read_labels(path) for path in masks)
            self.results.append(vss.count_vss_video(zip(gt_maps, maps), num_classes=num_classes))

    def compute_metrics(self, results: list[vss.VSSCounts]) -> dict[str, float]:
        """Metrics in [0, 1]."""
        first, *rest = results
        return vss.summarize_vss(sum(rest, first))
