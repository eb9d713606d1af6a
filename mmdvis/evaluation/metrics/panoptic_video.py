"""Shared code of the panoptic video metrics: official ground truth, and frame tables of a predicted video."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmdvis.evaluation.files.consistency import frame_faults, warn_of_faults
from mmdvis.evaluation.files.panoptic_files import CITYSCAPES_FRAMES, CITYSCAPES_STEP, PanopticGroundTruth
from mmdvis.evaluation.files.scoring import FLAVOURS, frame_table_of_files
from mmdvis.evaluation.functional.frame_table import FrameTable
from mmdvis.structures import Segment


def frame_segments(maps: np.ndarray, segments: Sequence[Segment], category_ids: Sequence[int]) -> list[list[dict]]:
    """``segments_info`` of each frame of a prediction, limited to the segments that have pixels in the frame.

    Args:
        maps: Predicted ids (T, H, W).
        segments: Segments of the video.
        category_ids: Category id of each label.
    """
    infos = {s.id: dict(id=s.id, category_id=category_ids[s.label], iscrowd=0) for s in segments}
    return [
        [dict(infos[int(i)], area=int(n)) for i, n in zip(*np.unique(frame, return_counts=True)) if i] for frame in maps
    ]


def result_tables(
    truth: PanopticGroundTruth,
    video_id: str,
    maps: Sequence[np.ndarray],
    segments: Sequence[Sequence[dict]],
    merge: bool = True,
    areas: bool = True,
) -> list[FrameTable]:
    """Frame tables of a predicted video.

    Args:
        truth: Ground truth of the dataset.
        video_id: Id of the video.
        maps: Predicted ids (H, W) of each frame. If the ground truth has six annotated frames out of thirty
            (Cityscapes-VPS), predictions of all thirty frames are also accepted.
        segments: Predicted ``segments_info`` of each frame.
        merge: See :func:`frame_table`.
        areas: Whether the stated areas of the ground truth are compared with its PNGs.

    Raises:
        BadInputError: The id map and the ``segments_info`` of a frame are inconsistent.
        ValueError: The video is unknown, or the number of frames differs.
    """
    if video_id not in truth.videos:
        raise ValueError(f'the ground truth has no video {video_id}')
    frames = truth.videos[video_id]
    if len(frames) == CITYSCAPES_FRAMES and len(maps) == CITYSCAPES_FRAMES * CITYSCAPES_STEP:
        maps, segments = maps[CITYSCAPES_STEP - 1 :: CITYSCAPES_STEP], segments[CITYSCAPES_STEP - 1 :: CITYSCAPES_STEP]
    if len(frames) != len(maps):
        raise ValueError(f'video {video_id} has {len(frames)} frames, but the prediction has {len(maps)}')
    tables, faults = [], []
    for frame, id_map, infos in zip(frames, maps, segments):
        tables.append(frame_table_of_files(frame, id_map, infos, truth.is_thing, merge))
        faults += frame_faults(frame.name, tables[-1], frame.segments, infos, areas)
    warn_of_faults(faults)
    return tables


class PanopticVideoMetric(BaseMetric):
    """Base class of VPQ and STQ: converts each sample to frame tables; subclasses count and sum.

    The ground truth is read from the official files instead of through a dataset, so that errors of the dataset reader
    become visible in the metric.

    Args:
        gt_json: JSON file of the official ground truth.
        gt_dir: Folder with the PNGs of the official ground truth.
        flavour: Layout and rules: ``'vipseg'``, ``'cityscapes'`` or ``'viper'``.
        collect_device: See :class:`mmengine.evaluator.BaseMetric`.
        prefix: See :class:`mmengine.evaluator.BaseMetric`.
    """

    reads_areas = True  # whether the metric uses the areas that are stated in the ground truth

    def __init__(
        self, gt_json: str, gt_dir: str, flavour: str = 'vipseg', collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device, prefix)
        if flavour not in FLAVOURS:
            raise ValueError(f'flavour must be {" or ".join(map(repr, FLAVOURS))}, got {flavour!r}')
        self.flavour = FLAVOURS[flavour]
        self.truth = self.flavour.truth(Path(gt_json), Path(gt_dir))

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Counts each video immediately; only the counts are kept in memory."""
        for sample in data_samples:
            result = sample['pred_panoptic']
            maps = result.id_map.numpy()
            segments = frame_segments(maps, result.segments, self.dataset_meta['category_ids'])
            self.results.append(
                self.count(
                    result_tables(
                        self.truth,
                        str(sample['video_id']),
                        maps,
                        segments,
                        self.flavour.rules.merge_repeated,
                        self.reads_areas and self.flavour.rules.json_areas,
                    )
                )
            )

    def count(self, tables: list[FrameTable]) -> Any:
        """Counts of one video."""
        raise NotImplementedError
