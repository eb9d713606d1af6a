"""Points of videos, grouped by the frames in which they lie."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

MIN_RUN = 64  # mean number of points that follow each other in one frame, from which frames are sampled one by one
MAX_PIXELS = 1 << 20  # maximum number of pixels of the frames that are sampled together
Runs = dict[tuple[int, int], list[slice]]


def runs_of_frames(frames: Tensor) -> Runs | None:
    """Slices of the points of each row that lie in the same frame.

    On a CPU, sampling the points of one frame at once is ten times faster than gathering their neighbours.

    Args:
        frames: Frame index (N, P) of each point.

    Returns:
        (row, frame) -> slices of the points; None on other devices, and if points that follow each other are rarely in
        the same frame.
    """
    if frames.device.type != 'cpu' or not frames.numel():
        return None
    starts = torch.ones(frames.shape, dtype=torch.bool)
    starts[:, 1:] = frames[:, 1:] != frames[:, :-1]
    rows, firsts = starts.nonzero(as_tuple=True)
    if len(rows) * MIN_RUN > frames.numel():
        return None
    runs: Runs = defaultdict(list)
    ends = torch.where(rows[1:] == rows[:-1], firsts[1:], frames.shape[1]).tolist() + [frames.shape[1]]
    for row, frame, first, end in zip(rows.tolist(), frames[rows, firsts].tolist(), firsts.tolist(), ends):
        runs[row, frame].append(slice(first, end))
    return runs


def batches(runs: Runs, size: Sequence[int]) -> Iterator[list[tuple[int, int, list[slice]]]]:
    """Row, frame and slices of frames with similar numbers of points.

    Args:
        runs: See :func:`runs_of_frames`.
        size: (height, width) of the frames.

    Yields:
        As many frames as there are threads, but together not more than ``MAX_PIXELS`` pixels.
    """
    frames = sorted(((row, frame, parts) for (row, frame), parts in runs.items()), key=number_of_points)
    step = max(1, min(torch.get_num_threads(), MAX_PIXELS // (size[0] * size[1])))
    for start in range(0, len(frames), step):
        yield frames[start : start + step]


def number_of_points(frame: tuple[int, int, list[slice]]) -> int:
    """Number of points in a frame."""
    return sum(part.stop - part.start for part in frame[2])


def places(parts: Sequence[slice]) -> Iterator[tuple[slice, slice]]:
    """Each slice, and its place if they follow each other."""
    start = 0
    for part in parts:
        yield part, slice(start, start + part.stop - part.start)
        start += part.stop - part.start


def gathered(values: Tensor, batch: Sequence[tuple[int, int, list[slice]]]) -> Tensor:
    """Values (N, P, ...) at the points of each frame (n, P', ...), with zeros after them."""
    found = values.new_zeros(len(batch), max(map(number_of_points, batch)), *values.shape[2:])
    for k, (row, _, parts) in enumerate(batch):
        for part, place in places(parts):
            found[k, place] = values[row, part]
    return found
