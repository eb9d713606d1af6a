"""Video panoptic segmentation from a prediction."""
from typing import List, Optional, Tuple

import torch
from torch import Tensor, nn

from mmdvis.models.functional.panoptic_fusion import Fusion, fuse_panoptic
from mmdvis.registry import MODELS
from mmdvis.structures import Segment, VideoDataSample, VideoPanoptic, VideoPrediction


@MODELS.register_module()
class PanopticPostprocessor(nn.Module):
    """One segment at most for each pixel.

    Args:
        num_things: labels below it are things, the others stuff.
        score_thr: a row needs a class probability above it.
        overlap_thr: least ratio of the pixels a row wins to those in which its mask is at least 0.5.
    """

    def __init__(self, num_things: int, score_thr: float = 0.8, overlap_thr: float = 0.8) -> None:
        super().__init__()
        self.options = dict(num_things=num_things, score_thr=score_thr, overlap_thr=overlap_thr)

    def forward(self, prediction: VideoPrediction, sample: VideoDataSample) -> VideoDataSample:
        """The sample with ``pred_panoptic``: fused over the whole video, or frame by frame if the scores are causal."""
        length, by_frame = prediction.num_frames, []
        whole = None if prediction.is_causal else self.fuse(prediction)
        id_map: Optional[Tensor] = None
        for frame in range(length):
            painted = self.paint(prediction, frame, by_frame) if whole is None else whole.map(frame)
            id_map = torch.empty(length, *painted.shape, dtype=painted.dtype) if id_map is None else id_map
            id_map[frame] = painted
        if whole is not None:
            return VideoPanoptic(id_map, tuple(whole.segments)).pack(sample)
        last = {segment.id: segment for segments in by_frame for segment in segments}
        return VideoPanoptic(id_map, tuple(last.values()), tuple(by_frame)).pack(sample)

    def paint(self, prediction: VideoPrediction, frame: int, by_frame: List[Tuple[Segment, ...]]) -> Tensor:
        """Ids (H, W) int32 of a frame by its own scores; its segments are added to ``by_frame``."""
        found = fuse_panoptic(prediction.scores[frame], prediction.probs_of, [frame], slot_ids=True, **self.options)
        by_frame.append(tuple(found.segments))
        return found.map(0)

    def fuse(self, prediction: VideoPrediction) -> Fusion:
        """The fusion of a whole video, whose frames can be painted one by one; scores are not causal."""
        return fuse_panoptic(prediction.scores, prediction.probs_of, range(prediction.num_frames), **self.options)
