"""Ground truth of single frames in the form that detectors of mmdet learn from."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.structures import VOID, ClipTargets


@dataclass(frozen=True, eq=False)
class FrameTruth:
    """Objects and regions of one frame.

    Attributes:
        boxes: Boxes (n, 4) float32 of the things as x1, y1, x2, y2; right and bottom edges are exclusive.
        labels: Class (n,) int64 of each thing.
        ids: Id (n,) int64 of each thing in its clip.
        masks: Masks (n, H, W) bool of the things.
        semantic: Class (H, W) int64 of every pixel; 255 where it is unknown.
    """

    boxes: Tensor
    labels: Tensor
    ids: Tensor
    masks: Tensor
    semantic: Tensor


def mask_boxes(masks: Tensor) -> Tensor:
    """Bounding boxes (n, 4) float32 of masks (n, H, W) bool that have a pixel."""
    columns, rows = masks.any(1), masks.any(2)
    first = [axis.int().argmax(1) for axis in (columns, rows)]
    last = [axis.shape[1] - axis.flip(1).int().argmax(1) for axis in (columns, rows)]
    return torch.stack([*first, *last], 1).float()


def frame_truth(targets: ClipTargets, frame: int, num_things: int) -> FrameTruth:
    """The truth of one frame of a clip.

    Args:
        targets: Objects and regions of the clip.
        frame: Number of the frame in the clip.
        num_things: Classes below it are things.
    """
    is_visible = targets.visible[:, frame]
    labels, ids, masks = targets.labels[is_visible], targets.ids[is_visible], targets.masks[is_visible, frame]
    if targets.semantic is not None:
        semantic = targets.semantic[frame].long()
    else:
        semantic = torch.full(masks.shape[1:], VOID, dtype=torch.long, device=masks.device)
        for label, mask in zip(labels.tolist(), masks):
            semantic[mask] = label
    is_thing = labels < num_things
    masks = masks[is_thing]
    return FrameTruth(mask_boxes(masks), labels[is_thing], ids[is_thing], masks, semantic)


class MaskCrops:
    """Masks with the members that mask heads of mmdet use; few regions are cut out at a time.

    Args:
        masks: Masks (n, H, W) bool.
    """

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks
        self.height, self.width = masks.shape[1:]

    def __len__(self) -> int:
        return len(self.masks)

    def crop_and_resize(
        self, bboxes: np.ndarray, out_shape: tuple[int, int], inds: np.ndarray, device: str = 'cpu', **kwargs: object
    ) -> 'MaskCrops':
        """The masks ``inds`` (m,) inside boxes (m, 4) at the size ``out_shape``, cut at a mean of 0.5."""
        from mmcv.ops import roi_align

        parts = [torch.zeros(0, *out_shape, dtype=torch.bool)]
        for start in range(0, len(inds), 8):
            part = slice(start, start + 8)
            boxes = torch.from_numpy(bboxes[part]).to(self.masks.device, torch.float32)
            chosen = self.masks[torch.from_numpy(inds[part]).to(self.masks.device)].float()
            rois = torch.cat([torch.arange(len(boxes), device=boxes.device)[:, None].float(), boxes], 1)
            parts.append((roi_align(chosen[:, None], rois, out_shape, 1.0, 0, 'avg', True)[:, 0] >= 0.5).cpu())
        return MaskCrops(torch.cat(parts))

    def to_ndarray(self) -> np.ndarray:
        """The masks as an array (n, H, W) uint8."""
        return self.masks.cpu().numpy().astype(np.uint8)


def binary_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (n, H, W) bool at another size; a pixel belongs to a mask that covers at least half of it."""
    if not len(masks):
        return masks.new_zeros(0, *size)
    return F.interpolate(masks[:, None].float(), size, mode='area')[:, 0] >= 0.5
