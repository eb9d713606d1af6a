"""Query containers passed between the stages: per-frame queries and track queries."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from mmdvis.checks import check_shapes

from .write_slice import write_slice


@dataclass(frozen=True, eq=False)
class FrameQueries:
    """Per-frame query outputs of the segmenter; row q can be a different object in each frame.

    Attributes:
        embeds: Query embeddings (B, T, Q, C), the input of later stages. They are taken after the decoder norm in DVIS
            and before it in DVIS++.
        match_embeds: Embeddings (B, T, Q, D) that trackers compare to match queries.
        class_logits: Class logits (B, T, Q, K + 1); the last column is "no object".
        mask_embeds: Mask embeddings (B, T, Q, M); mask logits are their inner products with ``mask_features``.
        mask_features: Mask features (B, T, M, h, w) at stride 4; the same tensor in every stage. At test time, they are
            compact if the segmenter has ``expand`` and all later stages have ``reads_mask_features = False``.
        present: Bool mask (B, T), False in frames that pad a shorter video.
    """

    embeds: Tensor
    match_embeds: Tensor
    class_logits: Tensor
    mask_embeds: Tensor
    mask_features: Tensor
    present: Tensor

    AXES: ClassVar[dict[str, str]] = dict(
        embeds='BTQC', match_embeds='BTQD', class_logits='BTQK', mask_embeds='BTQM', mask_features='BTMhw', present='BT'
    )

    def __post_init__(self) -> None:
        check_shapes(self, self.AXES)

    @classmethod
    def of_windows(cls, windows: Iterable['FrameQueries'], num_frames: int) -> 'FrameQueries':
        """Concatenates consecutive windows of the same clips in time.

        Each window is copied into preallocated tensors, so it can be freed before the next one is computed.

        Args:
            windows: Consecutive windows.
            num_frames: Total number of frames.
        """
        joined: dict[str, Tensor] = {}
        start = 0
        for window in windows:
            write_fields(joined, window, cls.AXES, start, num_frames)
            start += window.present.shape[1]
        return cls(**joined)

    def select_rows(self, order: Tensor) -> 'FrameQueries':
        """Replaces row q of each frame by row ``order[b, t, q]``; ``order`` is (B, T, Q) int64."""
        index = order[..., None]
        rows = {name: getattr(self, name).take_along_dim(index, 2) for name, axes in self.AXES.items() if 'Q' in axes}
        return replace(self, **rows)

    def as_tracks(self, context: Tensor) -> 'TrackQueries':
        """Tracks whose row q is row q of every frame.

        Args:
            context: See :class:`TrackQueries`.
        """
        return TrackQueries(
            ids=torch.arange(self.embeds.shape[2], device=self.embeds.device),
            valid=self.present[..., None].expand(self.embeds.shape[:3]),
            embeds=self.embeds,
            class_logits=self.class_logits,
            mask_embeds=self.mask_embeds,
            mask_bias=torch.zeros_like(self.embeds[..., 0]),
            mask_features=self.mask_features,
            context=context,
        )


@dataclass(frozen=True, eq=False)
class TrackQueries:
    """Queries after tracking; row q is the same object in every frame.

    Attributes:
        ids: Track ids (Q,) int64, unique within a video and constant across its clips.
        valid: Bool mask (B, T, Q), False before a track starts, after it ends and in padding frames.
        embeds: Query embeddings (B, T, Q, C), the input of a refiner.
        class_logits: Class logits (B, T, Q, K + 1); the last column is "no object".
        mask_embeds: Mask embeddings (B, T, Q, M).
        mask_bias: Mask bias (B, T, Q); mask logits are ``mask_embeds . mask_features + mask_bias``.
        mask_features: Mask features (B, T, M, h, w) of the segmenter.
        context: Frame queries (B, T, Q, C) that a refiner can attend to.
    """

    ids: Tensor
    valid: Tensor
    embeds: Tensor
    class_logits: Tensor
    mask_embeds: Tensor
    mask_bias: Tensor
    mask_features: Tensor
    context: Tensor

    AXES: ClassVar[dict[str, str]] = dict(
        ids='Q',
        valid='BTQ',
        embeds='BTQC',
        class_logits='BTQK',
        mask_embeds='BTQM',
        mask_bias='BTQ',
        mask_features='BTMhw',
        context='BTQC',
    )
    IN_TIME: ClassVar[tuple[str, ...]] = tuple(name for name in AXES if name != 'ids')  # fields of shape (B, T, ...)

    def __post_init__(self) -> None:
        check_shapes(self, self.AXES)

    @classmethod
    def of_windows(cls, windows: Iterable['TrackQueries'], num_frames: int) -> 'TrackQueries':
        """Concatenates consecutive windows of the same videos in time.

        The result is that of :func:`cat_time`. While the track ids stay the same, each window is copied into
        preallocated tensors, so it can be freed before the next one is computed. This avoids duplicate copies and
        memory fragmentation.

        Args:
            windows: Consecutive windows.
            num_frames: Total number of frames.

        Raises:
            ValueError: If there are no windows.
        """
        joined: dict[str, Tensor] = {}
        start, ids = 0, None
        remaining: list[TrackQueries] = []
        for window in windows:
            ids = window.ids if ids is None else ids
            if remaining or not torch.equal(window.ids, ids):
                remaining.append(window)
                continue
            write_fields(joined, window, cls.IN_TIME, start, num_frames)
            start += window.valid.shape[1]
        if ids is None:
            raise ValueError('windows must contain at least one window, got none')
        tracks = cls(ids, **{name: x[:, :start] for name, x in joined.items()})
        return cat_time([tracks, *remaining]) if remaining else tracks

    def video(self, index: int, num_frames: int) -> 'TrackQueries':
        """Tracks of video ``index`` only (B = 1), limited to its first ``num_frames`` frames."""
        return replace(self, **{name: getattr(self, name)[index : index + 1, :num_frames] for name in self.IN_TIME})

    def without_features(self) -> 'TrackQueries':
        """The same tracks with empty mask features (B, T, M, 0, 0).

        The stages after the tracker do not use the mask features for prediction.
        """
        return replace(self, mask_features=self.mask_features.new_empty(*self.mask_features.shape[:3], 0, 0))

    def clips(self, length: int | None) -> list['TrackQueries']:
        """Splits the tracks in time into clips.

        Args:
            length: Clip length in frames; None returns the whole video as one clip.

        Raises:
            ValueError: If ``length`` is not positive.
        """
        if length is not None and length < 1:
            raise ValueError(f'a clip must have at least one frame, got {length}; None means the whole video')
        frames = self.valid.shape[1]
        return [
            replace(self, **{name: getattr(self, name)[:, start : start + (length or frames)] for name in self.IN_TIME})
            for start in range(0, frames, length or frames)
        ]

    def rows_of(self, ids: Tensor) -> 'TrackQueries':
        """The same tracks with one row per id of ``ids`` (N,); ids without a track become invalid rows of zeros."""
        if torch.equal(ids, self.ids):
            return self
        is_same_id = ids[:, None] == self.ids  # (N, Q)
        is_present, row = is_same_id.any(1), is_same_id.int().argmax(1)
        selected = {}
        for name, axes in self.AXES.items():
            if 'Q' in axes and name != 'ids':
                rows = getattr(self, name)[:, :, row]
                selected[name] = rows * is_present.view(-1, *[1] * (rows.dim() - 3)).to(rows.dtype)
        return replace(self, ids=ids, **selected)


def write_fields(found: dict[str, Tensor], window: object, names: Iterable[str], start: int, num_frames: int) -> None:
    """Copies fields (B, t, ...) of a window into tensors (B, num_frames, ...).

    Args:
        found: Name -> tensor with all frames; missing tensors are allocated.
        window: Object that holds the fields.
        names: Names of the fields.
        start: Index of the first frame of the window.
        num_frames: Total number of frames.
    """
    for name in names:
        found[name] = write_slice(found.get(name), getattr(window, name), start, num_frames, axis=1)


def cat_time(clips: Sequence[TrackQueries]) -> TrackQueries:
    """Concatenates clips of the same videos in time.

    A track that is missing in a clip is invalid in the frames of that clip. A single clip is returned without a copy.

    Args:
        clips: Consecutive clips.

    Raises:
        ValueError: If ``clips`` is empty.
    """
    if not clips:
        raise ValueError('clips must contain at least one clip, got none')
    if len(clips) == 1:
        return clips[0]
    has_same_ids = all(torch.equal(clip.ids, clips[0].ids) for clip in clips)
    ids = clips[0].ids if has_same_ids else torch.cat([clip.ids for clip in clips]).unique()
    aligned_clips = [clip.rows_of(ids) for clip in clips]
    joined = {name: torch.cat([getattr(clip, name) for clip in aligned_clips], 1) for name in TrackQueries.IN_TIME}
    return TrackQueries(ids, **joined)
