"""One panoptic map a video in two passes over its frames: count areas, then paint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmdvis.structures import MapStore, Segment


def confident_rows(scores: Tensor, score_thr: float) -> tuple[Tensor, Tensor, Tensor]:
    """The rows (k,) of scores (Q, K + 1) whose best class is an object above ``score_thr``; its scores and labels (k,)."""
    top, labels = scores.max(-1)
    rows = ((labels != scores.shape[1] - 1) & (top > score_thr)).nonzero()[:, 0]
    return rows, top[rows], labels[rows]


@dataclass(frozen=True, eq=False)
class PanopticFusion:
    """Result of panoptic fusion: a map store that makes the ids of a frame when they are asked for.

    Attributes:
        segments: the segments of the video.
        ids (k + 1,): int32 on the CPU: segment id of each confident row; the last entry, 0, stands for void.
        winners: index of the confident row that wins each pixel, k where no mask reaches 0.5.
    """

    segments: tuple[Segment, ...]
    ids: Tensor
    winners: MapStore

    def append(self, values: Tensor) -> None:
        """Not supported: a fusion is complete."""
        raise TypeError('a panoptic fusion is complete; no frame can be appended')

    def __getitem__(self, frame: int) -> Tensor:
        """Ids (H, W) int32 on the CPU of a frame."""
        return self.ids[self.winners[frame].long()]

    def __len__(self) -> int:
        return len(self.winners)


def fuse_panoptic(
    scores: Tensor,
    probs_of: Callable[[Tensor], Callable[[int], Tensor]],
    frames: Sequence[int],
    winners: MapStore,
    num_things: int,
    score_thr: float,
    overlap_thr: float,
    slot_ids: bool = False,
) -> PanopticFusion:
    """Panoptic fusion with whole-video areas (DVIS, ``inference_video_vps``).

    A pixel goes to the row with the largest score times mask, if that mask is at least 0.5 there. A row is dropped
    everywhere if the pixels it wins, sure or not, are fewer than ``overlap_thr`` times those in which its mask is at
    least 0.5. Rows of one stuff class become one segment.

    Args:
        scores (Q, K + 1): class probabilities, last column: no object.
        probs_of: rows (k,) -> (frame -> (k, H, W) mask probabilities at the output size).
        frames: the frames to fuse, at least one.
        winners: an empty store, which receives the winning row of every pixel, frame by frame.
        num_things: labels below it are things.
        slot_ids: number things by row + 1 and stuff by Q + 1 + label, which no later frame can change; else 1, 2, ... in
            the order of the rows.
    """
    rows, top, labels = confident_rows(scores, score_thr)
    num_rows, probs_at = len(rows), probs_of(rows)
    won, claimed, kept = (torch.zeros(num_rows, dtype=torch.int64, device=scores.device) for _ in range(3))
    small = torch.uint8 if num_rows < 255 else torch.int16
    for frame in frames:
        probs = probs_at(frame)
        if num_rows == 0:
            winners.append(torch.zeros(probs.shape[-2:], dtype=small, device=scores.device))
            continue
        winner = (top[:, None, None] * probs).argmax(0)
        is_sure = probs.gather(0, winner[None])[0] >= 0.5
        won += torch.bincount(winner.flatten(), minlength=num_rows)
        kept += torch.bincount(winner[is_sure], minlength=num_rows)
        claimed += (probs >= 0.5).flatten(1).sum(1)
        winners.append(winner.where(is_sure, num_rows).to(small))
    stable = (kept > 0) & (won.double() / claimed.clamp(min=1) >= overlap_thr)
    ids, segments = name_segments(rows, top, labels, stable, num_things, scores.shape if slot_ids else None)
    return PanopticFusion(tuple(segments), ids.cpu(), winners)


def name_segments(
    rows: Tensor, top: Tensor, labels: Tensor, stable: Tensor, num_things: int, shape: tuple[int, int] | None
) -> tuple[Tensor, list[Segment]]:
    """The id of each confident row, 0 where it is not ``stable``, and the segments.

    Args:
        rows, top, labels, stable (k,): the confident rows, their scores and labels, and whether they keep enough.
        shape: (Q, K + 1) to number by slot, None to number 1, 2, ...

    Returns:
        ids (k + 1,) int32, the last for void; segments.
    """
    ids, segments, stuff = torch.zeros(len(rows) + 1, dtype=torch.int32, device=rows.device), [], {}
    found: dict[str, list] = dict(row=rows.tolist(), score=top.tolist(), label=labels.tolist())
    for k in stable.nonzero()[:, 0].tolist():
        row, score, label = (found[name][k] for name in ('row', 'score', 'label'))
        is_thing = label < num_things
        if not is_thing and label in stuff:
            ids[k] = stuff[label]
            continue
        number = len(segments) + 1
        if shape is not None:
            number = row + 1 if is_thing else shape[0] + 1 + label
        segments.append(Segment(number, row, label, is_thing, score))
        ids[k] = number
        if not is_thing:
            stuff[label] = number
    return ids, segments
