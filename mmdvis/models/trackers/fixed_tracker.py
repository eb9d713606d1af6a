"""Tracker of segmenters that carry their queries from frame to frame."""

from dataclasses import dataclass

from torch import nn

from mmdvis.models.functional.matching import last_present
from mmdvis.registry import MODELS
from mmdvis.structures import FrameQueries, TrackQueries


@dataclass(frozen=True, eq=False)
class FixedState:
    """State of the tracker between clips: nothing needs to be remembered."""


@MODELS.register_module()
class FixedTracker(nn.Module):
    """Query q of every frame is track q, as :class:`VidEoMTSegmenter` provides it; has no parameters."""

    reads_mask_features = False

    def forward(self, queries: FrameQueries, state: FixedState | None = None) -> tuple[TrackQueries, FixedState]:
        """Tracks a clip.

        Args:
            queries: Queries of the clip.
            state: State after the previous clip; None if the videos start with this clip.

        Returns:
            Tracks of the clip and the state after it.

        Raises:
            ValueError: A video starts without a present frame.
        """
        if state is None:
            last_present(queries.present, queries.present)
        return queries.as_tracks(queries.embeds), FixedState()
