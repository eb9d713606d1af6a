"""MMEngine metric for video semantic segmentation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmdvis.checks import path_inside
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
        gt_dir: Folder with ``<frame>.png`` for the frames of all videos, instead of ``gt_root`` (CamVid).
        first_value: Value of class 0 in the masks. Values below it and above the classes are void.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See :class:`mmengine.evaluator.BaseMetric`.
    """

    def __init__(
        self,
        gt_root: str | None = None,
        num_classes: int | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        gt_dir: str | None = None,
        first_value: int = 1,
    ) -> None:
        super().__init__(collect_device, prefix)
        if (gt_root is None) == (gt_dir is None):
            raise ValueError(f'set either gt_root or gt_dir, got {gt_root} and {gt_dir}')
        self.folder, self.is_flat = Path(gt_root if gt_dir is None else gt_dir), gt_dir is not None
        self.num_classes, self.first_value = num_classes, first_value

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Counts each video immediately; only the counts are kept in memory.

        Raises:
            ValueError: The number of frames or their size differs from the ground truth.
        """
        categories = np.asarray(self.dataset_meta['category_ids'])
        num_classes = len(categories) if self.num_classes is None else self.num_classes
        for sample in data_samples:
            name, maps = sample['video_id'], categories[sample['pred_semantic'].label_map]
            names = sample['frame_names'] if self.is_flat else ()
            masks = [path_inside(self.folder, frame, links=True) for frame in names] or mask_files(self.folder, name)
            if len(masks) != len(maps):
                raise ValueError(
                    f'video {name} has {len(masks)} masks in {self.folder}, but the prediction has {len(maps)} frames'
                )
            size = read_labels(masks[0]).shape
            if maps.shape[1:] != size:
                raise ValueError(
                    f'video {name} has masks of {size} (height, width), but the prediction is {maps.shape[1:]}'
                )
            gt_maps = (read_labels(path).astype(np.int64) - self.first_value + 1 for path in masks)
            self.results.append(vss.count_vss_video(zip(gt_maps, maps), num_classes=num_classes))

    def compute_metrics(self, results: list[vss.VSSCounts]) -> dict[str, float]:
        """Metrics in [0, 1]."""
        first, *rest = results
        return vss.summarize_vss(sum(rest, first))
