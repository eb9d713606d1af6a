"""Numbers objects by their rank in their class (Cls-Sort of VPSNet)."""

import torch
from torch import Tensor

from mmdvis.models.functional.video_tracks import Detections
from mmdvis.registry import MODELS

PER_CLASS = 1000  # numbers of a class


@MODELS.register_module()
class RankAssociator:
    """The k-th best object of a class in a frame continues the k-th best one of the frame before; it has no memory."""

    needs_masks = False
    needs_flow = False

    def __call__(
        self, detections: Detections, memory: None, frame: int, flow: Tensor | None = None, affinity: object = None
    ) -> tuple[Tensor, None]:
        """Number (n,) of each detection, and no memory."""
        same = detections.labels[:, None] == detections.labels[None]
        ranks = torch.tril(same, -1).sum(1)  # detections are sorted by descending score
        return detections.labels * PER_CLASS + ranks, None
