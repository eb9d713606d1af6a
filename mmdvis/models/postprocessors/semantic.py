"""Video semantic segmentation from a prediction."""

import torch
from torch import Tensor, nn

from mmdvis.registry import MODELS
from mmdvis.structures import VideoDataSample, VideoPanoptic, VideoPrediction, VideoSemantic, write_slice

MAX_VOTES = 1 << 24  # sums that are held together: classes times pixels


@MODELS.register_module()
class SemanticPostprocessor(nn.Module):
    """Every pixel gets the class with the largest sum, over the rows, of class probability times mask probability.

    Args:
        min_score: rows whose best class is below it are left out; 0 keeps all, as the official code does.
        around: config of a panoptic postprocessor whose segments give the classes; the sums then fill only the pixels that
            it leaves void. So the winner of the VPS track of PVUW 2024 made VSS of a VPS model; what it did with void pixels
            is not said.
    """

    def __init__(self, min_score: float = 0.0, around: dict | None = None) -> None:
        super().__init__()
        self.min_score = min_score
        self.around = MODELS.build(around) if around else None

    def forward(self, prediction: VideoPrediction, sample: VideoDataSample) -> VideoDataSample:
        """The sample with ``pred_semantic``, contiguous labels (T, H, W), uint8 where they fit."""
        small = torch.uint8 if prediction.scores.shape[-1] <= 256 else torch.uint16
        sample = sample if self.around is None else self.around(prediction, sample)
        found = None if self.around is None else sample.pred_panoptic
        result: Tensor | None = None
        for frame in range(prediction.num_frames):
            result = write_slice(
                result, self.label(prediction, frame, found)[None].to(small), frame, prediction.num_frames
            )
        return VideoSemantic(result.numpy()).pack(sample)

    def label(self, prediction: VideoPrediction, frame: int, found: VideoPanoptic | None) -> Tensor:
        """(H, W) int64: the class of every pixel of one frame; of its segment where ``found`` has one."""
        if found is None:
            return self.vote(prediction, frame)
        labels = labels_of_segments(found.id_map[frame], {s.id: s.label for s in found.segments_at(frame)})
        is_void = labels < 0
        return torch.where(is_void, self.vote(prediction, frame), labels) if is_void.any() else labels

    def vote(self, prediction: VideoPrediction, frame: int) -> Tensor:
        """(H, W) int64: the class with the largest sum in every pixel of one frame."""
        scores = (prediction.scores[frame] if prediction.is_causal else prediction.scores)[:, :-1]
        rows = (scores.amax(1) >= self.min_score).nonzero()[:, 0]
        probs, weights = prediction.probs_of(rows)(frame), scores[rows]
        stripe = max(1, MAX_VOTES // max(weights.shape[1] * probs.shape[-1], 1))  # lines at once
        return torch.cat(
            [torch.einsum('qk,qhw->khw', weights, lines).argmax(0).cpu() for lines in probs.split(stripe, 1)]
        )


def labels_of_segments(ids: Tensor, labels: dict[int, int]) -> Tensor:
    """The class (H, W) int64 of every pixel of a map of segment ids; -1 where it is void.

    Args:
        ids (H, W): 0 is void.
        labels: id -> class.
    """
    table = torch.full((int(ids.max()) + 1,), -1)
    table[list(labels)] = torch.tensor(list(labels.values()), dtype=torch.int64)
    return table[ids.long()]
