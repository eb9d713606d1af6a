"""Associates objects by appearance, overlap, score and class (VPSNet)."""

from collections.abc import Callable

import torch
from torch import Tensor

from mmdvis.checks import check_choice
from mmdvis.models.functional.track_memory import empty_memory, mask_iou, moved, remembered
from mmdvis.models.functional.video_tracks import Detections, TrackMemory
from mmdvis.registry import MODELS

IOU_WEIGHT, LABEL_BONUS = 2.0, 10.0  # of the released code


@MODELS.register_module()
class AffinityAssociator:
    """Each detection takes the track with the highest score, or a new one; of several, the best keeps the track.

    The score of detection i and track j of its class is log p_ij + log s_i + 2 IoU_ij + 10, that of a new track
    log p_i0 + log s_i + 10, where p are the affinities after a softmax and s the detection scores.

    Args:
        iou: Overlap of ``'mask'`` (moved along the optical flow), ``'box'`` as in the released code, or ``'none'``.
        forget_after: Tracks that were not seen for more frames are forgotten; None keeps all.
    """

    def __init__(self, iou: str = 'mask', forget_after: int | None = None) -> None:
        check_choice('iou', iou, ('mask', 'box', 'none'))
        self.iou, self.forget_after = iou, forget_after
        self.needs_masks = self.needs_flow = iou == 'mask'

    def overlaps(self, detections: Detections, memory: TrackMemory) -> Tensor:
        """IoU (n, M) of detections and tracks."""
        if self.iou == 'mask':
            return mask_iou(detections.masks, memory.masks)
        if self.iou == 'none':
            return detections.boxes.new_zeros(len(detections), len(memory.numbers))
        low = torch.maximum(detections.boxes[:, None, :2], memory.boxes[None, :, :2])
        high = torch.minimum(detections.boxes[:, None, 2:], memory.boxes[None, :, 2:])
        common = (high - low).clamp(min=0).prod(-1)
        areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (detections.boxes, memory.boxes)]
        return common / (areas[0][:, None] + areas[1][None] - common).clamp(min=1e-6)

    def __call__(
        self,
        detections: Detections,
        memory: TrackMemory | None,
        frame: int,
        flow: Tensor | None = None,
        affinity: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, TrackMemory]:
        """Number (n,) of each detection, and the memory after it.

        Args:
            detections: Detections with appearance, and masks if the overlap needs them.
            memory: Memory after the previous frame; None starts a video.
            frame: Number of the frame.
            flow: Flow (2, h, w) from this frame into the previous one.
            affinity: Function of two appearances that returns logits (n, 1 + m), the first column for "new".

        Raises:
            ValueError: There is no affinity, because the model has no track head.
        """
        if affinity is None or detections.embeds is None:
            raise ValueError('AffinityAssociator needs a model with a track_head; use RankAssociator or add one')
        memory = moved(memory or empty_memory(detections), flow)
        tracks = torch.full_like(detections.labels, -1)
        if len(detections) and len(memory.numbers):
            logits = affinity(detections.embeds, memory.embeds).log_softmax(1)
            scores = logits + detections.scores.log()[:, None]
            is_same = detections.labels[:, None] == memory.labels[None]
            scores[:, 0] += LABEL_BONUS
            scores[:, 1:] += IOU_WEIGHT * self.overlaps(detections, memory) + LABEL_BONUS
            scores[:, 1:].masked_fill_(~is_same, -torch.inf)
            best, column = scores.max(1)
            tracks = column - 1
            for i in best.argsort(stable=True).tolist():  # a better claim comes later and stands
                if tracks[i] >= 0 and ((tracks == tracks[i]) & (best > best[i])).any():
                    tracks[i] = -1
            tracks = first_claims(tracks)
        return remembered(memory, detections, tracks, frame, self.forget_after)


def first_claims(tracks: Tensor) -> Tensor:
    """The tracks (n,) with -1 for all but the first claim of each track, which matters for equal scores only."""
    same = (tracks[:, None] == tracks[None]) & (tracks >= 0)
    return torch.where(torch.tril(same, -1).any(1), torch.full_like(tracks, -1), tracks)
