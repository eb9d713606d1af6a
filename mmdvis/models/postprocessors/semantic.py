"""Video semantic segmentation from a prediction."""
import numpy as np
import torch
from torch import nn

from mmdvis.registry import MODELS
from mmdvis.structures import VideoDataSample, VideoPrediction, VideoSemantic


@MODELS.register_module()
class SemanticPostprocessor(nn.Module):
    """Every pixel gets the class with the largest sum, over the rows, of class probability times mask probability.

    Args:
        min_score: rows whose best class is below it are left out; 0 keeps all, as the official code does.
    """

    def __init__(self, min_score: float = 0.) -> None:
        super().__init__()
        self.min_score = min_score

    def forward(self, prediction: VideoPrediction, sample: VideoDataSample) -> VideoDataSample:
        """The sample with ``pred_semantic``, contiguous labels (T, H, W), uint8 where they fit."""
        maps = []
        for frame in range(prediction.num_frames):
            scores = (prediction.scores[frame] if prediction.is_causal else prediction.scores)[:, :-1]
            rows = (scores.amax(1) >= self.min_score).nonzero()[:, 0]
            votes = torch.einsum('qk,qhw->khw', scores[rows], prediction.probs_of(rows)(frame))
            maps.append(votes.argmax(0).cpu().numpy())
        small = np.uint8 if prediction.scores.shape[-1] <= 256 else np.uint16
        return VideoSemantic(np.stack(maps).astype(small)).pack(sample)
