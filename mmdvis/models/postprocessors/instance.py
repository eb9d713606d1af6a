"""Video instance segmentation from a prediction."""

import numpy as np
from pycocotools import mask as coco_mask
from torch import Tensor, nn

from mmdvis.registry import MODELS
from mmdvis.structures import VideoDataSample, VideoInstances, VideoPrediction


@MODELS.register_module()
class InstancePostprocessor(nn.Module):
    """The best pairs of track and class; a track may come with several classes (DVIS, ``inference_video_vis``).

    Args:
        max_num: pairs kept in a video.
    """

    def __init__(self, max_num: int = 10) -> None:
        super().__init__()
        self.max_num = max_num

    def forward(self, prediction: VideoPrediction, sample: VideoDataSample) -> VideoDataSample:
        """The sample with ``pred_instances``; causal scores count with those of the last frame."""
        scores = (prediction.scores[-1] if prediction.is_causal else prediction.scores)[:, :-1]
        top, pair = scores.flatten().topk(min(self.max_num, scores.numel()))
        row, label = pair // scores.shape[1], pair % scores.shape[1]
        rows, place = row.unique(return_inverse=True)  # masks of a track are made once, however many classes it has
        frames = [
            encode_masks(prediction.masks.logits(rows, t) > 0, prediction.valid[t, rows])
            for t in range(prediction.num_frames)
        ]
        masks = [[frame[k] for frame in frames] for k in place.tolist()]
        return VideoInstances(top.cpu(), label.cpu(), prediction.ids[row].cpu(), masks).pack(sample)


def encode_masks(masks: Tensor, valid: Tensor) -> list[dict]:
    """COCO run-length masks of bool masks (k, H, W); rows that are not ``valid`` (k,) are empty."""
    masks = (masks & valid[:, None, None]).cpu().numpy().astype(np.uint8)
    return [dict(code, counts=code['counts'].decode()) for code in map(coco_mask.encode, map(np.asfortranarray, masks))]
