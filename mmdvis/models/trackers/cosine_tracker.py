"""Tracker of MinVIS (arXiv:2208.02245): matches consecutive frames by cosine distance."""

from dataclasses import dataclass

from torch import Tensor, nn

from mmdvis.models.functional.matching import last_present, track_orders
from mmdvis.registry import MODELS
from mmdvis.structures import FrameQueries, TrackQueries


@dataclass(frozen=True, eq=False)
class CosineState:
    """State of the tracker between clips.

    Attributes:
        match_embeds: Embeddings (B, Q, D) of the last frame, in track order.
    """

    match_embeds: Tensor


@MODELS.register_module()
class CosineTracker(nn.Module):
    """Reorders the queries of every frame such that row q continues row q of the previous frame; has no parameters.

    Args:
        last_channels: Number of last channels of ``match_embeds`` to compare, which are the re-identification channels
            in DVIS++; None compares all channels.
    """

    reads_mask_features = False

    def __init__(self, last_channels: int | None = None) -> None:
        super().__init__()
        if last_channels is not None and last_channels < 1:
            raise ValueError(f'last_channels must be positive, got {last_channels}; use None to compare all channels')
        self.first_channel = None if last_channels is None else -last_channels

    def forward(self, queries: FrameQueries, state: CosineState | None = None) -> tuple[TrackQueries, CosineState]:
        """Tracks a clip.

        Args:
            queries: Queries of the clip.
            state: State after the previous clip; None if the videos start with this clip.

        Returns:
            Tracks of the clip and the state after it.
        """
        before = None if state is None else state.match_embeds
        rows = queries.select_rows(track_orders(queries.match_embeds[..., self.first_channel :], before))
        state = CosineState(last_present(rows.match_embeds[..., self.first_channel :], queries.present, before))
        return rows.as_tracks(queries.embeds), state
