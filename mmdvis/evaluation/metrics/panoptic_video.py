"""What the panoptic video metrics share: the official ground truth, and tables of a predicted video against it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmdvis.evaluation.files.panoptic_files import CITYSCAPES_FRAMES, CITYSCAPES_STEP, PanopticGroundTruth
from mmdvis.evaluation.files.scoring import FLAVOURS, frame_table_of_files
from mmdvis.evaluation.functional.frame_table import FrameTable
from mmdvis.structures import VideoPanoptic


def frame_segments(result: VideoPanoptic, category_ids: Sequence[int]) -> list[list[dict]]:
    """``segments_info`` of every frame of a result: the segments that have a pixel there."""
    infos = {s.id: dict(id=s.id, category_id=category_ids[s.label], iscrowd=0) for s in result.segments}
    return [
        [dict(infos[int(i)], area=int(n)) for i, n in zip(*np.unique(frame, return_counts=True)) if i]
        for frame in result.id_map.numpy()
    ]


def result_tables(
    truth: PanopticGroundTruth,
    video_id: str,
    maps: Sequence[np.ndarray],
    segments: Sequence[Sequence[dict]],
    merge: bool = True,
) -> list[FrameTable]:
    """The tables of a predicted video.

    Args:
        truth: of the set.
        video_id: which.
        maps: ids (H, W) of each frame; segments: ``segments_info`` of each. Where the truth has six annotated frames of
            thirty (Cityscapes-VPS), all thirty may come.
        merge: see :func:`frame_table`.

    Raises:
        BadInputError: map and list of a frame disagree.
        ValueError: the video is unknown, or the number of frames differs.
    """
    if video_id not in truth.videos:
        raise ValueError(f'the ground truth has no video {video_id}')
    frames = truth.videos[video_id]
    if len(frames) == CITYSCAPES_FRAMES and len(maps) == CITYSCAPES_FRAMES * CITYSCAPES_STEP:
        maps, segments = maps[CITYSCAPES_STEP - 1 :: CITYSCAPES_STEP], segments[CITYSCAPES_STEP - 1 :: CITYSCAPES_STEP]
    if len(frames) != len(maps):
        raise ValueError(f'video {video_id} has {len(frames)} frames, the prediction has {len(maps)}')
    return [
        frame_table_of_files(frame, id_map, found, truth.is_thing, merge)
        for frame, id_map, found in zip(frames, maps, segments)
    ]


class PanopticVideoMetric(BaseMetric):
    """Base of VPQ and STQ: turns each sample into tables; a subclass counts and sums.

    The ground truth is read from the official files and not through a dataset, so that a fault of one shows in the other.

    Args:
        gt_json, gt_dir: the official ground truth.
        flavour: its layout and rules: ``'vipseg'``, ``'cityscapes'`` or ``'viper'``.
        collect_device, prefix: as in mmengine.
    """

    def __init__(
        self, gt_json: str, gt_dir: str, flavour: str = 'vipseg', collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device, prefix)
        if flavour not in FLAVOURS:
            raise ValueError(f'flavour must be {" or ".join(map(repr, FLAVOURS))}, got {flavour!r}')
        self.flavour = FLAVOURS[flavour]
        self.truth = self.flavour.truth(Path(gt_json), Path(gt_dir))

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Counts each video at once; nothing but counts is kept."""
        for sample in data_samples:
            result = sample['pred_panoptic']
            segments = frame_segments(result, self.dataset_meta['category_ids'])
            maps = list(result.id_map.numpy())
            self.results.append(
                self.count(
                    result_tables(
                        self.truth, str(sample['video_id']), maps, segments, self.flavour.rules.merge_repeated
                    )
                )
            )

    def count(self, tables: list[FrameTable]) -> Any:
        """What one video contributes."""
        raise NotImplementedError
