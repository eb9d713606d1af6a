"""Video panoptic segmentation from a prediction."""

from functools import partial

import torch
from torch import nn

from mmdvis.io import DiskBackedMaps
from mmdvis.models.functional.panoptic_fusion import PanopticFusion, fuse_panoptic
from mmdvis.models.functional.tiled_panoptic import assign_frame
from mmdvis.registry import MODELS
from mmdvis.results import ClassInfo, VideoPanoptic
from mmdvis.structures import Segment, VideoPrediction


@MODELS.register_module()
class PanopticPostprocessor(nn.Module):
    """Assigns at most one segment to every pixel.

    Args:
        num_things: labels below it are things, the others are stuff.
        score_thr: minimum class probability of a segment.
        overlap_thr: minimum ratio of the pixels a segment wins to the pixels in which its mask is at least 0.5.
    """

    def __init__(self, num_things: int, score_thr: float = 0.8, overlap_thr: float = 0.8) -> None:
        super().__init__()
        self.num_things, self.score_thr, self.overlap_thr = num_things, score_thr, overlap_thr

    def forward(self, prediction: VideoPrediction, classes: ClassInfo | None = None) -> VideoPanoptic:
        """The panoptic result of a video: fused over all frames, or frame by frame if the scores are causal.

        Args:
            prediction: the video; its masks are read once, frame by frame.
            classes: the classes of the model; None: numbered ones.
        """
        classes = classes or ClassInfo.numbered(prediction.scores.shape[-1] - 1, self.num_things)
        if not prediction.is_causal:
            fusion = self.fuse(prediction, prediction.scores, range(prediction.num_frames))
            return VideoPanoptic(fusion, fusion.segments, classes)
        maps, by_frame = DiskBackedMaps(), []
        for frame in range(prediction.num_frames):
            fusion = self.fuse(prediction, prediction.scores[frame], [frame])
            maps.append(fusion[0])
            by_frame.append(fusion.segments)
        latest: dict[int, Segment] = {segment.id: segment for segments in by_frame for segment in segments}
        return VideoPanoptic(maps, tuple(latest.values()), classes, tuple(by_frame))

    def fuse(self, prediction: VideoPrediction, scores: torch.Tensor, frames: range | list[int]) -> PanopticFusion:
        """Fuses some frames by class scores (Q, K + 1); ids are stable over time if the scores are causal."""
        return fuse_panoptic(
            scores,
            partial(assign_frame, prediction),
            frames,
            DiskBackedMaps(),
            num_things=self.num_things,
            score_thr=self.score_thr,
            overlap_thr=self.overlap_thr,
            slot_ids=prediction.is_causal,
        )
