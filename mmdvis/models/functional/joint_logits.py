"""Joint panoptic logits of UPSNet: one channel per stuff class and one per object, without parameters."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.structures import VOID

MASK_OVERLAP = 0.3  # an object that kept objects of its class cover by more is removed
STUFF_MAJORITY = 0.5  # share of a region that must look like stuff for the object to be dropped

Window = tuple[slice, slice]


def paste(logits: Tensor, box: Tensor, size: tuple[int, int]) -> tuple[Tensor, Window] | None:
    """Mask logits resized to the integer box around a box.

    Args:
        logits: Mask logits (m, m).
        box: Box (4,) as x1, y1, x2, y2 in pixels.
        size: (height, width) of the image.

    Returns:
        Logits inside the image, and their rows and columns; None if the box is outside the image.
    """
    x1, y1, x2, y2 = (int(value) for value in box.tolist())
    height, width = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
    top, left = max(y1, 0), max(x1, 0)
    bottom, right = min(y1 + height, size[0]), min(x1 + width, size[1])
    if top >= bottom or left >= right:
        return None
    resized = F.interpolate(logits[None, None], (height, width), mode='bilinear', align_corners=False)[0, 0]
    return resized[top - y1 : bottom - y1, left - x1 : right - x1], (slice(top, bottom), slice(left, right))


def training_logits(semantic: Tensor, mask_logits: Tensor, boxes: Tensor, labels: Tensor, num_things: int) -> Tensor:
    """Joint logits (S + n, h, w) of one image: stuff, then objects, which are zero outside their boxes.

    Args:
        semantic: Semantic logits (K, h, w).
        mask_logits: Mask logits (n, m, m) of the objects' classes.
        boxes: Boxes (n, 4) at the size of the logits.
        labels: Classes (n,) of the objects.
        num_things: Number of thing classes.
    """
    channels = [semantic[num_things:]]
    for logits, box, label in zip(mask_logits, boxes, labels.tolist()):
        joint = torch.zeros_like(semantic[0])
        pasted = paste(logits, box, (semantic.shape[1], semantic.shape[2]))
        if pasted is not None:
            values, (rows, columns) = pasted
            inside = F.pad(
                values + semantic[label, rows, columns],
                (columns.start, joint.shape[1] - columns.stop, rows.start, joint.shape[0] - rows.stop),
            )
            joint = joint + inside
        channels.append(joint[None])
    return torch.cat(channels)


def training_target(semantic: Tensor, masks: Tensor, num_things: int, num_stuff: int) -> Tensor:
    """Target channel (h, w) int64 of every pixel for :func:`training_logits`; 255 for pixels without a label.

    Args:
        semantic: Class (h, w) of every pixel, 255 if unknown.
        masks: Masks (n, h, w) of the objects.
        num_things: Number of thing classes.
        num_stuff: Number of stuff classes.
    """
    is_stuff = (semantic >= num_things) & (semantic != VOID)
    target = torch.where(is_stuff, semantic - num_things, torch.full_like(semantic, VOID))
    for k, mask in enumerate(masks):
        target[mask] = num_stuff + k
    return target


@dataclass(frozen=True, eq=False)
class PanopticFrame:
    """Panoptic segmentation of one frame.

    Attributes:
        winners: For every pixel (H, W) int32: 0 for void, 1 + s for stuff class s (counted from the first stuff class),
            1 + S + i for object i.
        kept: Whether each object (n,) is in the map.
    """

    winners: Tensor
    kept: Tensor


def upsampled(channel: Tensor, padded: tuple[int, int], used: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """A channel (h, w) at stride 4 as (H, W): resized to the padded size, cut to the used one, resized to ``size``."""
    whole = F.interpolate(channel[None, None], padded, mode='bilinear', align_corners=False)
    whole = whole[..., : used[0], : used[1]]
    if used != size:
        whole = F.interpolate(whole, size, mode='bilinear', align_corners=False)
    return whole[0, 0]


def remove_covered(mask_logits: Tensor, boxes: Tensor, labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Which objects (n,) stay: those whose mask is not empty, nor covered by better objects of their class.

    Args:
        mask_logits: Mask logits (n, m, m), in descending order of score.
        boxes: Boxes (n, 4) in pixels of the image.
        labels: Classes (n,).
        size: (height, width) of the image.
    """
    covered: dict[int, Tensor] = {}
    kept = torch.zeros(len(labels), dtype=torch.bool)
    for i, label in enumerate(labels.tolist()):
        pasted = paste(mask_logits[i], boxes[i], size)
        if pasted is None:
            continue
        values, window = pasted
        mask = values > 0
        area = int(mask.sum())
        union = covered.setdefault(label, torch.zeros(size, dtype=torch.bool, device=mask.device))
        if not area or int((mask & union[window]).sum()) > MASK_OVERLAP * area:
            continue
        union[window] |= mask
        kept[i] = True
    return kept


@dataclass
class RunningMaximum:
    """The best channel of every pixel so far.

    Attributes:
        value: Its logit (H, W).
        winner: Its number (H, W) int32.
    """

    value: Tensor
    winner: Tensor

    @classmethod
    def empty(cls, size: tuple[int, int], like: Tensor) -> 'RunningMaximum':
        """No channel yet."""
        value = torch.full(size, -torch.inf, dtype=like.dtype, device=like.device)
        return cls(value, torch.full(size, -1, dtype=torch.int32, device=like.device))

    def update(self, values: Tensor, number: int, window: Window = (slice(None), slice(None))) -> None:
        """Takes a channel into account; of equal logits, the smaller number wins."""
        value, winner = self.value[window], self.winner[window]
        wins = (values > value) | ((values == value) & (winner > number))
        value[wins], winner[wins] = values[wins], number


def fuse_frame(
    semantic: Tensor,
    mask_logits: Tensor,
    boxes: Tensor,
    labels: Tensor,
    num_things: int,
    padded: tuple[int, int],
    used: tuple[int, int],
    size: tuple[int, int],
    min_stuff_area: int = 0,
    zero_outside: bool = False,
) -> PanopticFrame:
    """Assigns every pixel to stuff or to an object; channels are made one after another and never stacked.

    Args:
        semantic: Semantic logits (K, h, w) at stride 4 of the padded frame.
        mask_logits: Mask logits (n, m, m) of the objects' classes, in descending order of score.
        boxes: Boxes (n, 4) in pixels of the processed frame.
        labels: Classes (n,).
        num_things: Number of thing classes T.
        padded: (height, width) of the padded frame.
        used: (height, width) of the processed frame without padding.
        size: (height, width) of the result.
        min_stuff_area: Stuff classes with fewer pixels become void.
        zero_outside: Whether objects have the logit 0 outside their boxes, as in the released code, instead of none.
    """
    scale = boxes.new_tensor([size[1] / used[1], size[0] / used[0]]).repeat(2)
    boxes = boxes * scale
    kept, num_stuff = remove_covered(mask_logits, boxes, labels, size), len(semantic) - num_things
    joint, classes = RunningMaximum.empty(size, semantic), RunningMaximum.empty(size, semantic)
    for k, channel in enumerate(semantic):
        values = upsampled(channel, padded, used, size)
        classes.update(values, k)
        if k >= num_things:
            joint.update(values, k - num_things)
            continue
        for i in ((labels.cpu() == k) & kept).nonzero()[:, 0].tolist():
            pasted = paste(mask_logits[i], boxes[i], size)
            if pasted is None:
                continue
            if zero_outside:
                everywhere = torch.zeros_like(values)
                everywhere[pasted[1]] = values[pasted[1]] + pasted[0]
                joint.update(everywhere, num_stuff + i)
            else:
                joint.update(values[pasted[1]] + pasted[0], num_stuff + i, pasted[1])
    return reconcile(joint.winner + 1, classes.winner, labels, kept, num_things, num_stuff, min_stuff_area)


def reconcile(
    winners: Tensor, classes: Tensor, labels: Tensor, kept: Tensor, num_things: int, num_stuff: int, min_stuff_area: int
) -> PanopticFrame:
    """Turns objects whose region looks like stuff into stuff, and small stuff into void.

    Args:
        winners: See :class:`PanopticFrame`.
        classes: Class (H, W) with the largest semantic logit.
        labels: Classes (n,) of the objects.
        kept: Objects (n,) that are still there.
        num_things: Number of thing classes.
        num_stuff: Number of stuff classes.
        min_stuff_area: See :func:`fuse_frame`.
    """
    winners, kept = winners.clone(), kept.clone()
    for i in kept.nonzero()[:, 0].tolist():
        region = winners == 1 + num_stuff + i
        area = int(region.sum())
        if not area:
            kept[i] = False
            continue
        counts = torch.bincount(classes[region].long(), minlength=num_things + num_stuff)
        majority = int(counts.argmax())
        if majority != int(labels[i]) and majority >= num_things and int(counts[majority]) >= STUFF_MAJORITY * area:
            winners[region] = 1 + majority - num_things
            kept[i] = False
    areas = torch.bincount(winners.flatten(), minlength=1 + num_stuff)[1 : 1 + num_stuff]
    for s in (areas < min_stuff_area).nonzero()[:, 0].tolist():
        winners[winners == 1 + s] = 0
    return PanopticFrame(winners, kept)
