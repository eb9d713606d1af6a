"""What flows between the stages: queries of single frames, and queries that are tracks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from mmdvis.checks import check_shapes

from .write_slice import write_slice


@dataclass(frozen=True, eq=False)
class FrameQueries:
    """The segmenter's word on each frame by itself: row q of two frames need not be the same object.

    Attributes:
        embeds (B, T, Q, C): what later stages decode from (DVIS: after the decoder norm, DVIS++: before it).
        match_embeds (B, T, Q, D): what trackers compare.
        class_logits (B, T, Q, K + 1): last column: no object.
        mask_embeds (B, T, Q, M): inner product with ``mask_features`` gives mask logits.
        mask_features (B, T, M, h, w): raw features at stride 4, the same tensor in every stage.
        present (B, T): bool, False in frames that only pad a shorter video.
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
        """Windows of the same clips one after the other, of ``num_frames`` in all; each may be forgotten before the next."""
        found: dict[str, Tensor] = {}
        start = 0
        for window in windows:
            write_fields(found, window, cls.AXES, start, num_frames)
            start += window.present.shape[1]
        return cls(**found)

    def select_rows(self, order: Tensor) -> 'FrameQueries':
        """The same frames with row ``order[b, t, q]`` in place of row q; ``order`` is (B, T, Q) int64."""
        index = order[..., None]
        rows = {name: getattr(self, name).take_along_dim(index, 2) for name, axes in self.AXES.items() if 'Q' in axes}
        return replace(self, **rows)


@dataclass(frozen=True, eq=False)
class TrackQueries:
    """Queries after tracking: row q is one object in every frame.

    Attributes:
        ids (Q,): int64, unique in a video, the same from clip to clip.
        valid (B, T, Q): bool, False before birth, after death and in padding.
        embeds (B, T, Q, C): what a refiner reads.
        class_logits (B, T, Q, K + 1): last column: no object.
        mask_embeds (B, T, Q, M), mask_bias (B, T, Q): mask logits are ``mask_embeds . mask_features + mask_bias``.
        mask_features (B, T, M, h, w): raw features of the segmenter.
        context (B, T, Q, C): frame queries that a refiner may attend to.
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
    IN_TIME: ClassVar[tuple[str, ...]] = tuple(name for name in AXES if name != 'ids')  # the fields (B, T, ...)

    def __post_init__(self) -> None:
        check_shapes(self, self.AXES)

    @classmethod
    def of_windows(cls, windows: Iterable['TrackQueries'], num_frames: int) -> 'TrackQueries':
        """Windows of the same videos one after the other, of ``num_frames`` in all; each may be forgotten before the next.

        As :func:`cat_time`, but as long as the tracks are the same ones nothing is held twice, and many small tensors never lie
        between large ones, which would leave holes in the memory.

        Raises:
            ValueError: there is no window.
        """
        found: dict[str, Tensor] = {}
        start, ids = 0, None
        others: list[TrackQueries] = []
        for window in windows:
            ids = window.ids if ids is None else ids
            if others or not torch.equal(window.ids, ids):
                others.append(window)
                continue
            write_fields(found, window, cls.IN_TIME, start, num_frames)
            start += window.valid.shape[1]
        if ids is None:
            raise ValueError('there is nothing to join: at least one window is needed, got none')
        first = cls(ids, **{name: x[:, :start] for name, x in found.items()})
        return cat_time([first, *others]) if others else first

    def video(self, index: int, num_frames: int) -> 'TrackQueries':
        """Video ``index`` alone (B = 1), its first ``num_frames`` frames."""
        return replace(self, **{name: getattr(self, name)[index : index + 1, :num_frames] for name in self.IN_TIME})

    def without_features(self) -> 'TrackQueries':
        """The same tracks with maps of no pixel, which is all that stages after the tracker need of them to predict."""
        return replace(self, mask_features=self.mask_features.new_empty(*self.mask_features.shape[:3], 0, 0))

    def clips(self, length: int | None) -> list['TrackQueries']:
        """The same tracks cut in time after every ``length`` frames; None does not cut.

        Raises:
            ValueError: ``length`` is not positive.
        """
        if length is not None and length < 1:
            raise ValueError(f'a clip must have at least one frame, got {length}; None means the whole video')
        frames = self.valid.shape[1]
        return [
            replace(self, **{name: getattr(self, name)[:, start : start + (length or frames)] for name in self.IN_TIME})
            for start in range(0, frames, length or frames)
        ]

    def rows_of(self, ids: Tensor) -> 'TrackQueries':
        """The same tracks with one row per id of ``ids`` (N,); unknown ids become invalid rows of zeros."""
        if torch.equal(ids, self.ids):
            return self
        known = ids[:, None] == self.ids  # (N, Q)
        has, row = known.any(1), known.int().argmax(1)
        picked = {}
        for name, axes in self.AXES.items():
            if 'Q' in axes and name != 'ids':
                rows = getattr(self, name)[:, :, row]
                picked[name] = rows * has.view(-1, *[1] * (rows.dim() - 3)).to(rows.dtype)
        return replace(self, ids=ids, **picked)


def write_fields(found: dict[str, Tensor], window: object, names: Iterable[str], start: int, num_frames: int) -> None:
    """Copies fields (B, t, ...) of a window to their place among ``num_frames``; the first window makes the room."""
    for name in names:
        found[name] = write_slice(found.get(name), getattr(window, name), start, num_frames, axis=1)


def cat_time(clips: Sequence[TrackQueries]) -> TrackQueries:
    """Joins the clips of the same videos in time; a track that a clip lacks is invalid there. A single clip is not copied.

    Raises:
        ValueError: ``clips`` is empty.
    """
    if not clips:
        raise ValueError('there is nothing to join: at least one clip is needed, got none')
    if len(clips) == 1:
        return clips[0]
    is_fixed = all(torch.equal(clip.ids, clips[0].ids) for clip in clips)
    ids = clips[0].ids if is_fixed else torch.cat([clip.ids for clip in clips]).unique()
    rows = [clip.rows_of(ids) for clip in clips]
    joined = {name: torch.cat([getattr(clip, name) for clip in rows], 1) for name in TrackQueries.IN_TIME}
    return TrackQueries(ids, **joined)
