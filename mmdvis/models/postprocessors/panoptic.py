"""Video panoptic segmentation from a prediction."""

from torch import Tensor, nn

from mmdvis.io import DiskBackedMaps
from mmdvis.models.functional.panoptic_fusion import Fusion, fuse_panoptic
from mmdvis.registry import MODELS
from mmdvis.structures import Segment, VideoDataSample, VideoPanoptic, VideoPrediction, write_slice


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
        whole = None if prediction.is_causal else self.fuse(prediction)
        id_map: Tensor | None = None
        by_frame: list[tuple[Segment, ...]] = []
        for frame in range(prediction.num_frames):
            found, place = (self.fuse_frame(prediction, frame), 0) if whole is None else (whole, frame)
            id_map = write_slice(id_map, found.map(place)[None], frame, prediction.num_frames)
            by_frame.append(tuple(found.segments))
        if whole is not None:
            return VideoPanoptic(id_map, tuple(whole.segments)).pack(sample)
        last = {segment.id: segment for segments in by_frame for segment in segments}
        return VideoPanoptic(id_map, tuple(last.values()), tuple(by_frame)).pack(sample)

    def fuse_frame(self, prediction: VideoPrediction, frame: int) -> Fusion:
        """The fusion of one frame by its own scores, which are causal."""
        return fuse_panoptic(
            prediction.scores[frame], prediction.probs_of, [frame], DiskBackedMaps(), slot_ids=True, **self.options
        )

    def fuse(self, prediction: VideoPrediction) -> Fusion:
        """The fusion of a whole video, whose frames can be painted one by one; scores are not causal."""
        return fuse_panoptic(
            prediction.scores, prediction.probs_of, range(prediction.num_frames), DiskBackedMaps(), **self.options
        )
