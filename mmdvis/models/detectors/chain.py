"""Segmenters with and without a state in the chain of stages."""

from dataclasses import dataclass

from torch import Tensor, nn

from mmdvis.structures import FrameQueries


@dataclass(frozen=True, eq=False)
class ChainState:
    """State of segmenter and tracker after the frames that have been processed.

    Attributes:
        segmenter: State of the segmenter; None for segmenters that process each frame independently.
        tracker: State of the tracker; None before the first frame.
    """

    segmenter: object | None = None
    tracker: object | None = None


def is_stateful(segmenter: nn.Module) -> bool:
    """Whether the queries of a frame depend on earlier frames, so that the segmenter takes and returns a state."""
    return getattr(segmenter, 'stateful', False)


def segment(
    segmenter: nn.Module, frames: Tensor, present: Tensor | None = None, state: object | None = None
) -> tuple[FrameQueries, object | None]:
    """Queries of the next frames, and the state of the segmenter after them.

    Args:
        segmenter: Segmenter with or without a state.
        frames: Normalised frames (B, T, 3, H, W).
        present: Bool mask (B, T), False in frames that pad a shorter video; None if there are no such frames.
        state: State of the segmenter after the previous frames; None starts new videos.
    """
    if is_stateful(segmenter):
        return segmenter(frames, present, state)
    return segmenter(frames, present), None


def checked_store(store: str, segmenter: nn.Module) -> str:
    """Returns the storage of the mask features.

    Raises:
        ValueError: The features cannot be recomputed frame by frame.
    """
    if store == 'recompute' and is_stateful(segmenter):
        raise ValueError(
            f"store='recompute' is not possible with {type(segmenter).__name__}, whose mask features depend on earlier "
            "frames; use 'memory' or 'disk'"
        )
    return store
