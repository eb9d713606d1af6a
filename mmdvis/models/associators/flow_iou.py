"""Associates objects by the overlap of their masks, moved along the optical flow (IoU-Match of VPSNet)."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmdvis.models.functional.track_memory import empty_memory, mask_iou, moved, remembered
from mmdvis.models.functional.video_tracks import Detections, TrackMemory
from mmdvis.registry import MODELS


@MODELS.register_module()
class FlowIoUAssociator:
    """Matches detections and tracks of one class so that the sum of their IoU is largest.

    Args:
        min_iou: Pairs with a smaller IoU are not matched.
        forget_after: Tracks that were not seen for more frames are forgotten; None keeps all.
    """

    needs_masks = True
    needs_flow = True

    def __init__(self, min_iou: float = 0.5, forget_after: int | None = None) -> None:
        self.min_iou, self.forget_after = min_iou, forget_after

    def __call__(
        self,
        detections: Detections,
        memory: TrackMemory | None,
        frame: int,
        flow: Tensor | None = None,
        affinity: object = None,
    ) -> tuple[Tensor, TrackMemory]:
        """Number (n,) of each detection, and the memory after it.

        Args:
            detections: Detections with masks.
            memory: Memory after the previous frame; None starts a video.
            frame: Number of the frame.
            flow: Flow (2, h, w) from this frame into the previous one.
            affinity: Not used.
        """
        memory = moved(memory or empty_memory(detections), flow)
        tracks = torch.full_like(detections.labels, -1)
        if len(detections) and len(memory.numbers):
            iou = mask_iou(detections.masks, memory.masks)
            iou = iou * (detections.labels[:, None] == memory.labels[None])
            rows, columns = linear_sum_assignment(iou.cpu().numpy(), maximize=True)
            for row, column in zip(rows.tolist(), columns.tolist()):
                if iou[row, column] >= self.min_iou:
                    tracks[row] = column
        return remembered(memory, detections, tracks, frame, self.forget_after)
