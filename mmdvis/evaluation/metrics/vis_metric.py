"""MMEngine metrics for average precision of tracks and of image instances."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdvis.evaluation.files.official_json import read_annotations
from mmdvis.evaluation.files.scoring import by_class
from mmdvis.evaluation.files.track_files import VideoTracks, check_track_mask, count_vis, read_gt_tracks
from mmdvis.evaluation.functional import vis_ap
from mmdvis.registry import METRICS
from mmdvis.results import VideoInstances

COCO_NAMES = ('AP', 'AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large')


def result_tracks(result: VideoInstances, category_ids: Sequence[int]) -> list[dict]:
    """Predicted tracks in the YouTube-VIS format: class, score, and a run-length mask or None per frame."""

    def mask(code: dict) -> dict | None:
        return code if vis_ap.coco_mask.area(vis_ap.run_length(code, (0, 0))) else None

    return [
        dict(category_id=category_ids[label], score=score, segmentations=[mask(code) for code in track])
        for label, score, track in zip(result.labels.tolist(), result.scores.tolist(), result.masks)
    ]


@METRICS.register_module()
class VISMetric(BaseMetric):
    """Average precision and recall of tracks.

    Reports AP, AP50, AP75, AR1, AR10, AR100 and AP and AR by size. For OVIS, AP and AR by occlusion are added; for
    YouTube-VIS 2022, AP of short and long videos.

    Args:
        gt_json: JSON file of the official ground truth.
        ovis: Whether to add AP and AR of lightly, moderately and heavily occluded tracks.
        long_videos: Ids of the long videos of YouTube-VIS 2022. If this or ``long_min_frames`` is set, AP, AP50,
            AP75, AR1 and AR10 of short (``AP_S``) and long videos (``AP_L``) and ``AP_SL`` are added.
        long_min_frames: Videos with at least this many frames are long.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See :class:`mmengine.evaluator.BaseMetric`.
    """

    def __init__(
        self,
        gt_json: str,
        ovis: bool = False,
        long_videos: Sequence[int] | None = None,
        long_min_frames: int | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        self.ovis = ovis
        self.names, self.videos, self.truths = read_gt_tracks(Path(gt_json), ovis)
        self.long = (
            None
            if long_videos is None and long_min_frames is None
            else {
                v
                for v, (_, length) in self.videos.items()
                if v in (long_videos or ()) or length >= (long_min_frames or np.inf)
            }
        )

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Compares each video with the ground truth immediately; only the overlaps are kept in memory.

        Raises:
            ValueError: The video is unknown, or the number of frames or the size of a mask differs.
        """
        for sample in data_samples:
            name = int(sample['video_id'])
            if name not in self.videos:
                raise ValueError(f'the ground truth has no video {name}')
            size, length = self.videos[name]
            tracks = result_tracks(sample['pred_instances'], self.dataset_meta['category_ids'])
            wrong_lengths = [len(track['segmentations']) for track in tracks if len(track['segmentations']) != length]
            if wrong_lengths:
                raise ValueError(f'video {name} has {length} frames, but the prediction has {wrong_lengths[0]}')
            for track in tracks:
                for t, mask in enumerate(track['segmentations']):
                    check_track_mask(mask, size, f'prediction of video {name}, frame {t}')
            self.results.append(
                (name, count_vis(VideoTracks(size, length, tuple(self.names), self.truths[name], tracks)))
            )

    def compute_metrics(self, results: list[tuple[int, dict[int, vis_ap.Pair]]]) -> dict[str, float]:
        """Metrics in [0, 1]; -1 where the ground truth contains no object."""
        results = sorted(results, key=lambda result: result[0])
        metrics = vis_ap.summarize_ap(by_class([pairs for _, pairs in results], self.names), self.ovis)
        if self.long is not None:
            parts = [[pairs for name, pairs in results if (name in self.long) == is_long] for is_long in (False, True)]
            metrics.update(vis_ap.by_length([by_class(part, self.names) for part in parts]))
        return metrics


@METRICS.register_module()
class InstanceAPMetric(BaseMetric):
    """Mask AP of images computed by pycocotools, for the pre-training of segmenters.

    Args:
        gt_json: COCO instance annotations.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See :class:`mmengine.evaluator.BaseMetric`.
    """

    def __init__(self, gt_json: str, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        with contextlib.redirect_stdout(io.StringIO()):
            self.truth = COCO(gt_json)
        read_annotations(self.truth.dataset, Path(gt_json))

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Stores the masks of each image, which is a video of one frame named by its image id."""
        for sample in data_samples:
            tracks = result_tracks(sample['pred_instances'], self.dataset_meta['category_ids'])
            detections = [
                dict(
                    image_id=int(sample['video_id']),
                    category_id=t['category_id'],
                    score=t['score'],
                    segmentation=t['segmentations'][0],
                )
                for t in tracks
                if t['segmentations'][0] is not None
            ]
            self.results.append((int(sample['video_id']), detections))

    def compute_metrics(self, results: list[tuple[int, list[dict]]]) -> dict[str, float]:
        """Metrics in [0, 1]; -1 where the ground truth contains no object, 0 if there are no detections."""
        detections = [detection for _, image_detections in results for detection in image_detections]
        if not detections:
            return dict.fromkeys(COCO_NAMES, 0.0)
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(self.truth, self.truth.loadRes(detections), 'segm')
            evaluation.params.imgIds = sorted(image for image, _ in results)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return dict(zip(COCO_NAMES, evaluation.stats[:6].tolist()))
