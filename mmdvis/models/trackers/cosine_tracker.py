"""Tracker of MinVIS (arXiv:2208.02245): matches consecutive frames by cosine distance, or frames with a memory."""

from dataclasses import dataclass, replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from mmdvis.models.functional.embedding_memory import Memory
from mmdvis.models.functional.matching import last_present, pair_costs, track_orders
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
    """Reorders the queries of every frame such that row q continues track q; has no parameters.

    By default, a frame is matched to the frame before. With a memory, it is matched to embeddings that are fused over
    all frames in which a track was visible, so a track that was hidden is found again.

    Args:
        last_channels: Number of last channels of ``match_embeds`` to compare, which are the re-identification channels
            in DVIS++; None compares all channels.
        memory: Probability of a class from which a track is visible and enters the memory, which is fused as in CTVIS
            (arXiv:2307.12616); None matches consecutive frames.
    """

    reads_mask_features = False

    def __init__(self, last_channels: int | None = None, memory: float | None = None) -> None:
        super().__init__()
        if last_channels is not None and last_channels < 1:
            raise ValueError(f'last_channels must be positive, got {last_channels}; use None to compare all channels')
        if memory is not None and not 0 <= memory <= 1:
            raise ValueError(
                f'memory must be a probability from 0 to 1, or None to match consecutive frames, got {memory}'
            )
        self.first_channel, self.memory = None if last_channels is None else -last_channels, memory

    def forward(
        self, queries: FrameQueries, state: CosineState | Memory | None = None
    ) -> tuple[TrackQueries, CosineState | Memory]:
        """Tracks a clip.

        Args:
            queries: Queries of the clip.
            state: State after the previous clip; None if the videos start with this clip.

        Returns:
            Tracks of the clip and the state after it.
        """
        embeds = queries.match_embeds[..., self.first_channel :]
        if self.memory is not None:
            visible = queries.class_logits.float().softmax(-1)[..., :-1].amax(-1) > self.memory
            orders, after = memory_orders(embeds, visible, queries.present, state)
            return queries.select_rows(orders).as_tracks(queries.embeds), after
        before = None if state is None else state.match_embeds
        rows = queries.select_rows(track_orders(embeds, before))
        last = last_present(rows.match_embeds[..., self.first_channel :], queries.present, before)
        return rows.as_tracks(queries.embeds), CosineState(last)


def memory_orders(embeds: Tensor, visible: Tensor, present: Tensor, state: Memory | None) -> tuple[Tensor, Memory]:
    """Matches the queries of each frame to the memory of the tracks.

    Args:
        embeds: Embeddings (B, T, Q, D), in the query order of the segmenter.
        visible: Bool (B, T, Q), whether a query is an object.
        present: Bool (B, T), True for the first frames of the clip and False for its padding frames.
        state: State after the previous clip; None if the videos start with this clip. Then its first frame keeps its
            order.

    Returns:
        Order (B, T, Q) int64, and the state after the clip.

    Raises:
        ValueError: A video starts without a present frame.
    """
    embeds, shape = embeds.detach().float(), embeds.shape
    if state is None:
        last_present(present, present)
    memory = Memory.empty((shape[0], shape[2]), embeds) if state is None else state
    orders, keeps = [], torch.arange(shape[2], device=embeds.device).expand(shape[0], -1)
    for t in range(shape[1]):
        order = keeps
        if t > 0 or state is not None:
            known = torch.where(memory.count[..., None] > 0, memory.bank, memory.last)
            costs = pair_costs(torch.stack([known, embeds[:, t]], 1))[:, 0]
            order = torch.stack([torch.from_numpy(linear_sum_assignment(cost)[1]) for cost in costs]).to(embeds.device)
        rows, shown = embeds[:, t].take_along_dim(order[..., None], 1), visible[:, t].take_along_dim(order, 1)
        here = present[:, t, None]
        memory = memory.after(rows, shown & here)
        is_new = (memory.count == 0) & here  # never visible: followed from frame to frame
        memory = replace(memory, last=torch.where(is_new[..., None], rows, memory.last))
        orders.append(order)
    return torch.stack(orders, 1), memory
