"""A segment of panoptic segmentation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """One panoptic segment of a video.

    Attributes:
        id: its value in the map, >= 1.
        row: the query it came from; for merged stuff the first one.
        label: class in [0, K), things first.
        is_thing: whether it is a countable object.
        score: class probability in [0, 1].
    """

    id: int
    row: int
    label: int
    is_thing: bool
    score: float
