"""Changes of the memory of tracks; every function returns a new one."""

from dataclasses import replace

import torch
from torch import Tensor

from mmdvis.models.functional.video_tracks import Detections, TrackMemory
from mmdvis.models.functional.warp import warp


def empty_memory(detections: Detections) -> TrackMemory:
    """Memory without tracks, for detections of this form."""
    none = detections.labels[:0]

    def like(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[:0]

    return TrackMemory(
        none, none, detections.boxes[:0], like(detections.masks), like(detections.embeds), none, next_number=0
    )


def moved(memory: TrackMemory, flow: Tensor | None) -> TrackMemory:
    """The memory with masks at the positions of the next frame.

    Args:
        memory: Memory after the previous frame.
        flow: Flow (2, h, w) from the next frame into the previous one, in pixels of the masks; None leaves them.
    """
    if memory.masks is None or flow is None or not len(memory.masks):
        return memory
    warped = warp(memory.masks[None].float(), flow[None].to(memory.masks.device))[0]
    return replace(memory, masks=warped.to(memory.masks.dtype))


def mask_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU (n, m) of mask probabilities (n, h, w) and (m, h, w), both cut at 0.5; 0 for two empty masks."""
    one, other = ((masks > 0.5).flatten(1).float() for masks in (first, second))
    common = one @ other.T
    return common / (one.sum(1)[:, None] + other.sum(1)[None] - common).clamp(min=1)


def remembered(
    memory: TrackMemory, detections: Detections, tracks: Tensor, frame: int, forget_after: int | None
) -> tuple[Tensor, TrackMemory]:
    """Enters detections into the memory.

    Args:
        memory: Memory before.
        detections: Detections of the frame.
        tracks: Index (n,) of the track of each detection; -1 starts a new one.
        frame: Number of the frame.
        forget_after: Tracks that were not seen for more frames are forgotten; None keeps all.

    Returns:
        Number (n,) of the track of each detection, and the memory after it.
    """
    is_new = tracks < 0
    number_new = int(is_new.sum())
    fresh = torch.arange(memory.next_number, memory.next_number + number_new, device=tracks.device)
    position = torch.where(is_new, len(memory.numbers) + is_new.cumsum(0) - 1, tracks)

    def updated(old: Tensor | None, new: Tensor | None) -> Tensor | None:
        if old is None or new is None:
            return None
        values = torch.cat([old, new[is_new].to(old.dtype)])
        values[position] = new.to(old.dtype)
        return values

    seen = torch.full_like(detections.labels, frame)
    changed = replace(
        memory,
        numbers=torch.cat([memory.numbers, fresh]),
        labels=torch.cat([memory.labels, detections.labels[is_new]]),
        boxes=updated(memory.boxes, detections.boxes),
        masks=updated(memory.masks, detections.masks),
        embeds=updated(memory.embeds, detections.embeds),
        last_seen=updated(memory.last_seen, seen),
        next_number=memory.next_number + number_new,
    )
    numbers = changed.numbers[position]
    return numbers, changed if forget_after is None else selected(changed, frame - changed.last_seen <= forget_after)


def selected(memory: TrackMemory, is_kept: Tensor) -> TrackMemory:
    """The memory with some of its tracks (M,) bool."""

    def part(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[is_kept]

    names = ('numbers', 'labels', 'boxes', 'masks', 'embeds', 'last_seen')
    return replace(memory, **{name: part(getattr(memory, name)) for name in names})
