"""Video panoptic segmentation from a prediction."""
import torch
from torch import nn

from mmdvis.models.functional.panoptic_fusion import Fusion, fuse_panoptic
from mmdvis.registry import MODELS
from mmdvis.structures import VideoDataSample, VideoPanoptic, VideoPrediction


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
        if not prediction.is_causal:
            found = self.fuse(prediction)
            id_map = torch.empty(prediction.num_frames, *found.map(0).shape, dtype=torch.int32)
            for frame in range(prediction.num_frames):
                id_map[frame] = found.map(frame)
            return VideoPanoptic(id_map, tuple(found.segments)).pack(sample)
        maps, by_frame = [], []
        for frame in range(prediction.num_frames):
            found = fuse_panoptic(prediction.scores[frame], prediction.probs_of, [frame], slot_ids=True, **self.options)
            maps.append(found.map(0))
            by_frame.append(tuple(found.segments))
        last = {segment.id: segment for segments in by_frame for segment in segments}
        return VideoPanoptic(torch.stack(maps), tuple(last.values()), tuple(by_frame)).pack(sample)

    def fuse(self, prediction: VideoPrediction) -> Fusion:
        """The fusion of a whole video, whose frames can be painted one by one; scores are not causal."""
        return fuse_panoptic(prediction.scores, prediction.probs_of, range(prediction.num_frames), **self.options)
