"""Panoptic fusion of a video in two passes over its frames: count areas, then assign segment ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from mmdvis.structures import FrameMaps, MapStore, Segment

from .numba_support import can_leave_pytorch, works

BAND_PIXELS = 1 << 16
Assigned = tuple[Tensor, Tensor]  # result of assign_pixels


def confident_rows(scores: Tensor, score_thr: float) -> tuple[Tensor, Tensor, Tensor]:
    """Selects the rows whose best class is not "no object" and has a probability above ``score_thr``.

    Args:
        scores: Class probabilities (Q, K + 1); the last column is "no object".
        score_thr: Score threshold.

    Returns:
        Row indices, scores and labels of the selected rows, (k,) each.
    """
    top, labels = scores.max(-1)
    rows = ((labels != scores.shape[1] - 1) & (top > score_thr)).nonzero()[:, 0]
    return rows, top[rows], labels[rows]


@dataclass(frozen=True, eq=False)
class PanopticFusion:
    """Result of panoptic fusion; maps that compute the ids of a frame on access.

    Attributes:
        segments: Segments of the video.
        ids: Segment id of each confident row, (k + 1,) int32 on the CPU; the last entry is 0 (void).
        winners: Index of the confident row that each pixel is assigned to, k if no mask probability reaches 0.5.
    """

    segments: tuple[Segment, ...]
    ids: Tensor
    winners: FrameMaps

    def __getitem__(self, frame: int) -> Tensor:
        """Segment ids of a frame, (H, W) int32 on the CPU; 0 is void."""
        return torch.from_numpy(self.ids.numpy()[self.winners[frame].numpy()])

    def __len__(self) -> int:
        return len(self.winners)


def fuse_panoptic(
    scores: Tensor,
    assign: Callable[[Tensor, Tensor, int], Assigned],
    frames: Sequence[int],
    winners: MapStore,
    num_things: int,
    score_thr: float,
    overlap_thr: float,
    slot_ids: bool = False,
) -> PanopticFusion:
    """Panoptic fusion with whole-video areas (DVIS, ``inference_video_vps``).

    Each pixel is won by the row with the largest product of class score and mask probability. It is assigned to this
    row if the mask probability is at least 0.5 there, and is void otherwise. A row is removed from the whole video if
    it has no assigned pixel, or if the number of pixels that it wins is below ``overlap_thr`` times the number of
    pixels where its mask probability is at least 0.5. Rows of the same stuff class become one segment.

    Args:
        scores: Class probabilities (Q, K + 1); the last column is "no object".
        assign: Function that assigns the pixels of a frame to rows, from rows (k,), their scores (k,) and the index of
            the frame; see :func:`assign_pixels`.
        frames: Indices of the frames to fuse, at least one.
        winners: Empty store that receives the winning row of every pixel, frame by frame.
        num_things: Number of thing classes; labels below it are things, the others are stuff.
        score_thr: Rows whose best class probability does not exceed it are ignored.
        overlap_thr: Minimum ratio of the won area of a row to the area of its mask.
        slot_ids: Whether segment ids are row + 1 for things and Q + 1 + label for stuff, so that they do not depend on
            later frames. Otherwise they are 1, 2, ... in the order of the rows.

    Returns:
        Segments of the video, and the id of every pixel.
    """
    rows, top, labels = confident_rows(scores, score_thr)
    areas = torch.zeros(3, len(rows), dtype=torch.int64, device=scores.device)  # won, assigned, in the mask
    for frame in frames:
        winner, counts = assign(rows, top, frame)
        winners.append(winner)
        areas += counts
    won_area, assigned_area, mask_area = areas
    stable = (assigned_area > 0) & (won_area.double() / mask_area.clamp(min=1) >= overlap_thr)
    ids, segments = name_segments(rows, top, labels, stable, num_things, scores.shape if slot_ids else None)
    return PanopticFusion(tuple(segments), ids.cpu(), winners)


def assign_bands(top: Tensor, probs: Tensor) -> Assigned:
    """Assigns the pixels of a whole frame, band by band; see :func:`assign_pixels`."""
    parts = [assign_pixels(top, lines) for lines in bands(probs)]
    return torch.cat([winner for winner, _ in parts]), torch.stack([counts for _, counts in parts]).sum(0)


def winner_type(num_rows: int) -> torch.dtype:
    """Type of maps that hold the index of a row, or ``num_rows`` for void."""
    return torch.uint8 if num_rows < 255 else torch.int16


def bands(maps: Tensor) -> tuple[Tensor, ...]:
    """Splits maps (k, H, W) into bands of lines that fit into the cache of a CPU; other devices take the whole maps."""
    lines = BAND_PIXELS // maps.shape[2] if maps.device.type == 'cpu' else maps.shape[1]
    return maps.split(max(lines, 1), 1)


def assign_pixels(top: Tensor, probs: Tensor) -> Assigned:
    """Assigns the pixels of a frame, or of some of its lines, to rows; on a CPU by a Numba kernel.

    Args:
        top: Scores (k,) of the rows.
        probs: Mask probabilities (k, H, W).

    Returns:
        Index of the row that each pixel is assigned to (H, W), k for void: uint8 or int16. For each row, the number of
        pixels that it wins, that it is assigned, and that it covers with a probability of at least 0.5: (3, k) int64.
    """
    is_float32, count = top.dtype == probs.dtype == torch.float32, len(top)
    if is_float32 and 0 < count < 1 << 15 and can_leave_pytorch(top, probs) and numba_assigns():
        from .panoptic_numba import numba_assign

        rows, areas = numba_assign(top, probs)
        return rows.to(winner_type(count)), areas
    return assign_row_by_row(top, probs)


@cache
def numba_assigns() -> bool:
    """Whether the Numba kernel works; it is tried once, and a failure causes a warning."""

    def trial() -> bool:
        from .panoptic_numba import numba_assign

        top = torch.tensor([0.5, 1.0], dtype=torch.float32, device='cpu')
        probs = torch.tensor([[[0.9, 0.4]], [[0.6, 0.1]]], dtype=torch.float32, device='cpu')
        if numba_assign(top, probs)[0].tolist() != [[1, 2]]:
            raise ArithmeticError('the kernel returns wrong values')
        return True

    return works(trial, 'panoptic fusion')


def assign_row_by_row(top: Tensor, probs: Tensor) -> Assigned:
    """:func:`assign_pixels` in PyTorch, one row at a time, which is several times faster than ``argmax`` on a CPU."""
    num_rows, size = len(top), probs.shape[-2:]
    winner = torch.zeros(size, dtype=winner_type(num_rows), device=probs.device)
    if not num_rows:
        return winner, winner.new_zeros(3, 0, dtype=torch.int64)
    areas = torch.zeros(3, num_rows, dtype=torch.int64, device=probs.device)
    best = top[0] * probs[0]
    for k in range(1, num_rows):
        value = top[k] * probs[k]
        winner.masked_fill_(value > best, k)
        torch.maximum(best, value, out=best)
    areas[0] = torch.bincount(winner.flatten(), minlength=num_rows)
    winner.masked_fill_(~(probs.gather(0, winner[None].long())[0] >= 0.5), num_rows)  # also where it is NaN
    areas[1] = torch.bincount(winner.flatten(), minlength=num_rows + 1)[:num_rows]
    areas[2] = (probs >= 0.5).flatten(1).sum(1)
    return winner, areas


def name_segments(
    rows: Tensor, top: Tensor, labels: Tensor, stable: Tensor, num_things: int, shape: tuple[int, int] | None
) -> tuple[Tensor, list[Segment]]:
    """Assigns segment ids to the confident rows.

    Args:
        rows: Indices (k,) of the confident rows.
        top: Scores (k,) of the rows.
        labels: Class labels (k,) of the rows.
        stable: Bool mask (k,) of the rows that become segments.
        num_things: Number of thing classes.
        shape: Shape (Q, K + 1) of the scores for ids that depend only on row and label, see ``slot_ids`` of
            :func:`fuse_panoptic`; None numbers the segments 1, 2, ...

    Returns:
        Segment id of each row, (k + 1,) int32, 0 for removed rows and for the last entry (void). The segments.
    """
    ids, segments, stuff_ids = torch.zeros(len(rows) + 1, dtype=torch.int32, device=rows.device), [], {}
    columns: dict[str, list] = dict(row=rows.tolist(), score=top.tolist(), label=labels.tolist())
    for k in stable.nonzero()[:, 0].tolist():
        row, score, label = (columns[name][k] for name in ('row', 'score', 'label'))
        is_thing = label < num_things
        if not is_thing and label in stuff_ids:
            ids[k] = stuff_ids[label]
            continue
        segment_id = len(segments) + 1
        if shape is not None:
            segment_id = row + 1 if is_thing else shape[0] + 1 + label
        segments.append(Segment(segment_id, row, label, is_thing, score))
        ids[k] = segment_id
        if not is_thing:
            stuff_ids[label] = segment_id
    return ids, segments
