"""MMEngine metric for DAVIS: region similarity and contour accuracy of objects in videos."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmdvis.checks import check_choice, path_inside
from mmdvis.errors import BadInputError
from mmdvis.evaluation.files.pngs import read_png
from mmdvis.evaluation.functional.davis import measure_objects, sequence_statistics
from mmdvis.registry import METRICS
from mmdvis.results import VideoInstances
from mmdvis.results.video_results import decode_mask
from mmdvis.structures import VOID


@METRICS.register_module()
class DAVISMetric(BaseMetric):
    """``J&F``, and mean, recall and decay of ``J`` and ``F`` over all objects of all sequences.

    Args:
        gt_dir: Folder ``Annotations/<resolution>`` with a folder of PNGs for each sequence.
        objects: ``'one'``: everything that is not background is one object, and the tracks with a score of at least
            ``score_thr``, or else the best track, are the prediction (DAVIS 2016). ``'all'``: each value is an object,
            and the ``max_objects`` best tracks are proposals without overlap, of which the best for each object counts
            (unsupervised DAVIS 2017).
        score_thr: See ``objects``.
        max_objects: See ``objects``.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See :class:`mmengine.evaluator.BaseMetric`.
    """

    def __init__(
        self,
        gt_dir: str,
        objects: str = 'one',
        score_thr: float = 0.5,
        max_objects: int = 20,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        check_choice('objects', objects, ('one', 'all'))
        self.gt_dir, self.objects, self.score_thr, self.max_objects = Path(gt_dir), objects, score_thr, max_objects

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Measures each video; only J and F of its objects and frames are kept in memory.

        Raises:
            BadInputError: Frames of the prediction and masks of the ground truth do not correspond.
        """
        for sample in data_samples:
            truth, void = self.read_truth(str(sample['video_id']))
            predicted = self.predicted_masks(sample['pred_instances'])
            if truth.shape[1:] != predicted.shape[1:]:
                raise BadInputError(
                    f'video {sample["video_id"]} has {truth.shape[1]} masks of {truth.shape[2:]} (height, width) in '
                    f'{self.gt_dir}, but the prediction has {predicted.shape[1]} frames of {predicted.shape[2:]}'
                )
            self.results.append(measure_objects(truth, predicted & ~void))

    def read_truth(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Masks (N, T, H, W) bool of the objects of a sequence, and void pixels (T, H, W) bool, which do not count.

        Raises:
            BadInputError: There is no mask, or masks have different sizes.
        """
        paths = sorted(path_inside(self.gt_dir, name, links=True).glob('*.png'))
        if not paths:
            raise BadInputError(f'{self.gt_dir / name} contains no masks of the sequence {name}')
        maps = []
        for path in paths:
            image = read_png(path, ('1', 'L', 'P'), 'a mask of DAVIS must be black and white, grey or of a palette')
            values = np.asarray(image).astype(np.uint8)
            if self.objects == 'one':
                is_void = (values == VOID) & (image.mode == 'P')
                values = np.where(is_void, VOID, values > 0).astype(np.uint8)
            maps.append(values)
            if values.shape != maps[0].shape:
                raise BadInputError(f'{path} is {values.shape} (height, width), but the first mask {maps[0].shape}')
        stacked = np.stack(maps)
        objects = [stacked == value for value in np.unique(stacked) if value not in (0, VOID)]
        return np.stack(objects or [np.zeros(stacked.shape, bool)]), stacked == VOID

    def predicted_masks(self, result: VideoInstances) -> np.ndarray:
        """Masks (M, T, H, W) bool of the predictions."""
        order = np.argsort(-result.scores.numpy(), kind='stable').tolist()
        if self.objects == 'one':
            kept = [k for k in order if float(result.scores[k]) >= self.score_thr] or order[:1]
        else:
            kept = order[: self.max_objects]
        masks = np.zeros((len(kept), result.num_frames, *result.size), bool)
        for mask, k in zip(masks, kept):
            for t, code in enumerate(result.masks[k]):
                mask[t] = decode_mask(code)
        if self.objects == 'one':
            return masks.any(0, keepdims=True)
        taken = np.zeros(masks.shape[1:], bool)
        for mask in masks:  # a pixel belongs to the best proposal
            mask &= ~taken
            taken |= mask
        return masks

    def compute_metrics(self, results: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        """Metrics in [0, 1], except the decays."""
        figures = {}
        for k, name in enumerate(('J', 'F')):
            values = np.array([sequence_statistics(row) for result in results for row in result[k]]).mean(0)
            figures.update(dict(zip((f'{name}_mean', f'{name}_recall', f'{name}_decay'), values.tolist())))
        return {'J&F': (figures['J_mean'] + figures['F_mean']) / 2, **figures}
