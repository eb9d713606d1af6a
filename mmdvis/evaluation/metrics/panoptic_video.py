"""What the panoptic video metrics share: the official ground truth, and tables of a predicted video against it."""
import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from mmdvis.evaluation.functional.frame_table import FrameTable, frame_table
from mmdvis.evaluation.functional.vpq import check_prediction
from mmdvis.structures import VideoPanoptic, read_image


def rgb_to_id(rgb: np.ndarray) -> np.ndarray:
    """Colours of a panoptic PNG (H, W, 3) -> ids (H, W) int32."""
    rgb = rgb.astype(np.int32)
    return rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]


class OfficialTruth:
    """The ground truth as the official files say it, read by itself and not through a dataset.

    Args:
        gt_json: VIPSeg's json of the split.
        gt_dir: folder of ``<video>/<frame>.png``.

    Attributes:
        is_thing: category id -> whether it is a thing.
        videos: video id -> its annotations, in the order of the json.
    """

    def __init__(self, gt_json: str, gt_dir: str) -> None:
        self.gt_dir = Path(gt_dir)
        content = json.loads(Path(gt_json).read_text())
        self.is_thing: Dict[int, bool] = {c['id']: c['isthing'] == 1 for c in content['categories']}
        self.videos: Dict[str, List[dict]] = {v['video_id']: v['annotations'] for v in content.get('annotations', [])}
        if not self.videos:
            raise ValueError(f'{gt_json} holds no annotations, so there is nothing to score against; '
                             'predictions of this split can only be written for submission')

    def tables(self, video_id: str, maps: Sequence[np.ndarray], segments: Sequence[Sequence[dict]]) -> List[FrameTable]:
        """The tables of a predicted video.

        Args:
            video_id: which.
            maps: ids (H, W) of each frame; segments: ``segments_info`` of each.

        Raises:
            ValueError: the video is unknown, the number of frames differs, or map and list of a frame disagree.
        """
        if video_id not in self.videos:
            raise ValueError(f'the ground truth has no video {video_id}')
        truth = self.videos[video_id]
        if len(truth) != len(maps):
            raise ValueError(f'video {video_id} has {len(truth)} frames, the prediction has {len(maps)}')
        tables = []
        for frame, id_map, found in zip(truth, maps, segments):
            true_map = rgb_to_id(read_image(self.gt_dir / video_id / frame['file_name']))
            tables.append(frame_table(true_map, frame['segments_info'], id_map, found))
            check_prediction(tables[-1], self.is_thing, f"video {video_id}, frame {frame['file_name']}")
        return tables


def frame_segments(result: VideoPanoptic, category_ids: Sequence[int]) -> List[List[dict]]:
    """``segments_info`` of every frame of a result: the segments that have a pixel there."""
    infos = {s.id: dict(id=s.id, category_id=category_ids[s.label], iscrowd=0) for s in result.segments}
    return [[dict(infos[int(i)], area=int(n)) for i, n in zip(*np.unique(frame, return_counts=True)) if i]
            for frame in result.id_map.numpy()]


class PanopticVideoMetric(BaseMetric):
    """Base of VPQ and STQ: turns each sample into tables; a subclass counts and sums.

    Args:
        gt_json, gt_dir: the official ground truth.
        collect_device, prefix: as in mmengine.
    """

    def __init__(self, gt_json: str, gt_dir: str, collect_device: str = 'cpu', prefix: Optional[str] = None) -> None:
        super().__init__(collect_device, prefix)
        self.truth = OfficialTruth(gt_json, gt_dir)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Counts each video at once; nothing but counts is kept."""
        for sample in data_samples:
            result = sample['pred_panoptic']
            segments = frame_segments(result, self.dataset_meta['category_ids'])
            tables = self.truth.tables(sample['video_id'], list(result.id_map.numpy()), segments)
            self.results.append(self.count(tables))

    def count(self, tables: List[FrameTable]) -> Any:
        """What one video contributes."""
        raise NotImplementedError
