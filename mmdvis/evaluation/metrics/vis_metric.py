"""Average precision of tracks and of instances in mmengine's loops."""

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
from mmdvis.structures import VideoInstances

COCO_NAMES = ('AP', 'AP50', 'AP75', 'AP_small', 'AP_medium', 'AP_large')


def result_tracks(result: VideoInstances, category_ids: Sequence[int]) -> list[dict]:
    """A result as YouTube-VIS lists it: class, score, and a run-length mask or None for each frame."""

    def mask(code: dict) -> dict | None:
        return code if vis_ap.coco_mask.area(vis_ap.run_length(code, (0, 0))) else None

    return [
        dict(category_id=category_ids[label], score=score, segmentations=[mask(code) for code in track])
        for label, score, track in zip(result.labels.tolist(), result.scores.tolist(), result.masks)
    ]


@METRICS.register_module()
class VISMetric(BaseMetric):
    """AP, AP50, AP75, AR1, AR10, AP by size; for OVIS by occlusion; for YouTube-VIS 2022 of short and long videos.

    Args:
        gt_json: the official ground truth.
        ovis: also AP of lightly, moderately and heavily occluded tracks.
        long_videos: ids of the long videos of YouTube-VIS 2022; or long_min_frames: videos of so many frames are long. Either
            adds ``AP_S``, ``AP_L`` and their mean ``AP_SL``.
        collect_device, prefix: as in mmengine.
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
        """Compares each video at once; nothing but overlaps is kept."""
        for sample in data_samples:
            name = int(sample['video_id'])
            if name not in self.videos:
                raise ValueError(f'the ground truth has no video {name}')
            size, length = self.videos[name]
            tracks = result_tracks(sample['pred_instances'], self.dataset_meta['category_ids'])
            wrong = [len(track['segmentations']) for track in tracks if len(track['segmentations']) != length]
            if wrong:
                raise ValueError(f'video {name} has {length} frames, the prediction has {wrong[0]}')
            for track in tracks:
                for t, mask in enumerate(track['segmentations']):
                    check_track_mask(mask, size, f'prediction of video {name}, frame {t}')
            self.results.append(
                (name, count_vis(VideoTracks(size, length, tuple(self.names), self.truths[name], tracks)))
            )

    def compute_metrics(self, results: list[tuple[int, dict[int, vis_ap.Pair]]]) -> dict[str, float]:
        """Fractions; -1 where the truth has nothing to find."""
        results = sorted(results, key=lambda result: result[0])
        found = vis_ap.summarize_ap(by_class([pairs for _, pairs in results], self.names), self.ovis)
        if self.long is not None:
            parts = [[pairs for name, pairs in results if (name in self.long) == is_long] for is_long in (False, True)]
            found.update(vis_ap.by_length([by_class(part, self.names) for part in parts]))
        return found


@METRICS.register_module()
class InstanceAPMetric(BaseMetric):
    """Mask AP of images by pycocotools, for the pre-training of segmenters.

    Args:
        gt_json: COCO's instance annotations.
        collect_device, prefix: as in mmengine.
    """

    def __init__(self, gt_json: str, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        with contextlib.redirect_stdout(io.StringIO()):
            self.truth = COCO(gt_json)
        read_annotations(self.truth.dataset, Path(gt_json))

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keeps the masks of each image (a video of one frame, named by its image id)."""
        for sample in data_samples:
            tracks = result_tracks(sample['pred_instances'], self.dataset_meta['category_ids'])
            found = [
                dict(
                    image_id=int(sample['video_id']),
                    category_id=t['category_id'],
                    score=t['score'],
                    segmentation=t['segmentations'][0],
                )
                for t in tracks
                if t['segmentations'][0] is not None
            ]
            self.results.append((int(sample['video_id']), found))

    def compute_metrics(self, results: list[tuple[int, list[dict]]]) -> dict[str, float]:
        """Fractions; -1 where the truth has nothing to find, 0 where nothing was found."""
        detections = [detection for _, found in results for detection in found]
        if not detections:
            return dict.fromkeys(COCO_NAMES, 0.0)
        with contextlib.redirect_stdout(io.StringIO()):
            scored = COCOeval(self.truth, self.truth.loadRes(detections), 'segm')
            scored.params.imgIds = sorted(image for image, _ in results)
            scored.evaluate()
            scored.accumulate()
            scored.summarize()
        return dict(zip(COCO_NAMES, scored.stats[:6].tolist()))
