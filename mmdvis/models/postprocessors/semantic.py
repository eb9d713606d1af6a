"""Video semantic segmentation from a prediction."""
from typing import Dict, Optional

import numpy as np
import torch
from torch import Tensor, nn

from mmdvis.registry import MODELS
from mmdvis.structures import VideoDataSample, VideoPrediction, VideoSemantic


@MODELS.register_module()
class SemanticPostprocessor(nn.Module):
    """Every pixel gets the class with the largest sum, over the rows, of class probability times mask probability.

    Args:
        min_score: rows whose best class is below it are left out; 0 keeps all, as the official code does.
        around: config of a panoptic postprocessor whose segments give the classes; the sums then fill only the pixels that
            it leaves void. So the winner of the VPS track of PVUW 2024 made VSS of a VPS model; what it did with void pixels
            is not said.
    """

    def __init__(self, min_score: float = 0., around: Optional[dict] = None) -> None:
        super().__init__()
        self.min_score = min_score
        self.around = MODELS.build(around) if around else None

    def forward(self, prediction: VideoPrediction, sample: VideoDataSample) -> VideoDataSample:
        """The sample with ``pred_semantic``, contiguous labels (T, H, W), uint8 where they fit."""
        frames = range(prediction.num_frames)
        if self.around is None:
            maps = [self.vote(prediction, t) for t in frames]
        else:
            sample = self.around(prediction, sample)
            found = sample.pred_panoptic
            maps = [classes_of(found.id_map[t], {s.id: s.label for s in found.segments_at(t)}) for t in frames]
            maps = [torch.where(m < 0, self.vote(prediction, t), m) if (m < 0).any() else m for t, m in zip(frames, maps)]
        small = np.uint8 if prediction.scores.shape[-1] <= 256 else np.uint16
        return VideoSemantic(torch.stack(maps).numpy().astype(small)).pack(sample)

    def vote(self, prediction: VideoPrediction, frame: int) -> Tensor:
        """(H, W) int64: the class with the largest sum in every pixel of one frame."""
        scores = (prediction.scores[frame] if prediction.is_causal else prediction.scores)[:, :-1]
        rows = (scores.amax(1) >= self.min_score).nonzero()[:, 0]
        return torch.einsum('qk,qhw->khw', scores[rows], prediction.probs_of(rows)(frame)).argmax(0).cpu()


def classes_of(ids: Tensor, labels: Dict[int, int]) -> Tensor:
    """The class (H, W) int64 of every pixel of a map of segment ids; -1 where it is void.

    Args:
        ids (H, W): 0 is void.
        labels: id -> class.
    """
    table = torch.full((int(ids.max()) + 1, ), -1)
    table[list(labels)] = torch.tensor(list(labels.values()), dtype=torch.int64)
    return table[ids.long()]
