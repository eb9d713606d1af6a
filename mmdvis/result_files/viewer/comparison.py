"""Compares the objects of a result with those of the ground truth, frame by frame."""

from typing import Any

import numpy as np

from mmdvis.results import FrameResult

MATCH_IOU = 0.5  # above it, at most one object matches, because visible objects do not overlap


def match_objects(result: FrameResult, truth: FrameResult) -> dict[int, int]:
    """Id in the ground truth -> id of the object of the same class whose IoU with it exceeds 0.5; things only.

    Raises:
        ValueError: The frames have different sizes.
    """
    ours, theirs = result.index_map(), truth.index_map()
    if ours.shape != theirs.shape:
        raise ValueError(f'the result is {ours.shape} (height, width), but the ground truth is {theirs.shape}')
    width = len(result.objects) + 1
    counts = np.bincount((theirs * width + ours).ravel(), minlength=width * (len(truth.objects) + 1))
    table = counts.reshape(-1, width)
    matches = {}
    for k, true in enumerate(truth.objects, 1):
        for j, segment in enumerate(result.objects, 1):
            common = table[k, j]
            union = table[k].sum() + table[:, j].sum() - common
            if true.is_thing and true.name == segment.name and common > MATCH_IOU * union:
                matches[true.id] = segment.id
    return matches


class ErrorLog:
    """Collects misses and identity switches of a video.

    Attributes:
        events: ``dict(frame=, kind='miss' or 'switch', truth=id, found=id or None)`` in the order of the frames. An
            object is missed if nothing matches it; its identity switches if it matches another id than before.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.last: dict[int, int] = {}
        self.count = 0

    def push(self, result: FrameResult, truth: FrameResult) -> None:
        """Compares the next frame."""
        matches = match_objects(result, truth)
        for true in truth.objects:
            if not true.is_thing:
                continue
            found = matches.get(true.id)
            if found is None:
                self.events.append(dict(frame=self.count, kind='miss', truth=true.id, found=None))
                continue
            if self.last.get(true.id, found) != found:
                self.events.append(dict(frame=self.count, kind='switch', truth=true.id, found=found))
            self.last[true.id] = found
        self.count += 1
