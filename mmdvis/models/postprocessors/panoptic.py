"""Video panoptic segmentation from a prediction."""
import torch
from torch import nn

from mmdvis.models.functional.panoptic_fusion import fuse_panoptic
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
            id_map, segments = fuse_panoptic(
                prediction.scores, prediction.probs_of, range(prediction.num_frames), **self.options)
            return VideoPanoptic(id_map.cpu(), tuple(segments)).pack(sample)
        maps, by_frame = [], []
        for frame in range(prediction.num_frames):
            id_map, segments = fuse_panoptic(
                prediction.scores[frame], prediction.probs_of, [frame], slot_ids=True, **self.options)
            maps.append(id_map.cpu())
            by_frame.append(tuple(segments))
        last = {segment.id: segment for segments in by_frame for segment in segments}
        return VideoPanoptic(torch.cat(maps), tuple(last.values()), tuple(by_frame)).pack(sample)
