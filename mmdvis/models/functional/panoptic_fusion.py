"""Panoptic fusion of a video in two passes over its frames: count areas, then assign segment ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmdvis.structures import FrameMaps, MapStore, Segment


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

    Each pixel is won by the row with the largest product of class score and mask probability. It is assigned to this
    row if the mask probability is at least 0.5 there, and is void otherwise. A row is removed from the whole video if
    it has no assigned pixel, or if the number of pixels that it wins is below ``overlap_thr`` times the number of
    pixels where its mask probability is at least 0.5. Rows of the same stuff class become one segment.

    Args:
        scores: Class probabilities (Q, K + 1); the last column is "no object".
        probs_of: Function that maps rows (k,) to a function from a frame index to mask probabilities (k, H, W) at the
            output size.
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
    num_rows, probs_at = len(rows), probs_of(rows)
    won_area, mask_area, assigned_area = (
        torch.zeros(num_rows, dtype=torch.int64, device=scores.device) for _ in range(3)
    )
    index_dtype = torch.uint8 if num_rows < 255 else torch.int16
    for frame in frames:
        probs = probs_at(frame)
        if num_rows == 0:
            winners.append(torch.zeros(probs.shape[-2:], dtype=index_dtype, device=scores.device))
            continue
        winner = (top[:, None, None] * probs).argmax(0)
        is_assigned = probs.gather(0, winner[None])[0] >= 0.5
        won_area += torch.bincount(winner.flatten(), minlength=num_rows)
        assigned_area += torch.bincount(winner[is_assigned], minlength=num_rows)
        mask_area += (probs >= 0.5).flatten(1).sum(1)
        winners.append(winner.where(is_assigned, num_rows).to(index_dtype))
    stable = (assigned_area > 0) & (won_area.double() / mask_area.clamp(min=1) >= overlap_thr)
    ids, segments = name_segments(rows, top, labels, stable, num_things, scores.shape if slot_ids else None)
    return PanopticFusion(tuple(segments), ids.cpu(), winners)


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
