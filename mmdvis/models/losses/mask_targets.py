"""Ground-truth masks of the set loss and their assignment to the matched masks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mmdvis.models.functional.assignment import Pairs
from mmdvis.models.functional.point_sampling import sample_targets
from mmdvis.structures import ClipTargets


@dataclass(frozen=True, eq=False)
class MaskTargets:
    """Ground truth of the compared masks, which are called units: one per frame, or one per video.

    Attributes:
        units: Bool masks (V, T', H, W) of all objects.
        rows: Index (L * U,) int64 of the ground-truth unit for each matched unit of each layer.
        void: Bool masks (V', T', H, W) of ignored pixels; None if there are none.
        void_rows: Index (L * U,) int64 of the ignored pixels for each matched unit of each layer; None if there are
            none.
    """

    units: Tensor
    rows: Tensor
    void: Tensor | None = None
    void_rows: Tensor | None = None

    @classmethod
    def of(
        cls,
        targets: Sequence[ClipTargets],
        pairs: Sequence[Pairs],
        units: Callable[[Tensor], Tensor],
        device: torch.device,
    ) -> 'MaskTargets':
        """Collects the ground truth of the matched units of all layers.

        Args:
            targets: Ground truth of each clip.
            pairs: Matched pairs of each clip.
            units: Function from masks (N, T, H, W) to units (V, T', H, W).
            device: Device of the indices.
        """
        gt_units = [units(clip.masks) for clip in targets]
        rows = target_rows(pairs, gt_units, [len(clip.labels) for clip in targets], device)
        if all(clip.ignored is None for clip in targets):
            return cls(join_targets(gt_units), rows)
        void_units = [units(ignored_of(clip)[None]) for clip in targets]
        pairs = [(slots, 0 * objects) for slots, objects in pairs]  # all objects of a clip share its ignored pixels
        return cls(
            join_targets(gt_units),
            rows,
            join_targets(void_units),
            target_rows(pairs, void_units, [1] * len(void_units), device),
        )

    def layers(self, block: slice, number: int) -> 'MaskTargets':
        """Ground truth of a slice of the ``number`` layers."""
        rows, void_rows = (
            None if x is None else x.view(number, -1)[block].flatten() for x in (self.rows, self.void_rows)
        )
        return replace(self, rows=rows, void_rows=void_rows)

    def at(self, frames: Tensor, coords: Tensor) -> tuple[Tensor, Tensor | None]:
        """Samples the ground truth at points.

        Args:
            frames: Frame index (L * U, P) of each point.
            coords: Normalised (x, y) coordinates (L * U, P, 2).

        Returns:
            Values (L * U, P) in [0, 1], zero at ignored points, and weights (L * U, P), 0 at ignored points and 1
            elsewhere, or None if no pixel is ignored.
        """
        gt_values = sample_targets(self.units, self.rows, frames, coords)
        if self.void is None:
            return gt_values, None
        kept = (sample_targets(self.void, self.void_rows, frames, coords) < 0.5).float()
        return gt_values * kept, kept


def target_rows(
    pairs: Sequence[Pairs], units: Sequence[Tensor], objects: Sequence[int], device: torch.device
) -> Tensor:
    """For each decoder layer, the index of the ground truth that is assigned to each matched query.

    Args:
        pairs: Matched pairs of each clip.
        units: Ground-truth units of each clip, ordered by object.
        objects: Number of objects of each clip.
        device: Device of the result.

    Returns:
        Indices (L * U,) int64 into the units of all clips.
    """
    rows, start = [], 0
    for (_, matched), clip_units, number in zip(pairs, units, objects):
        per_object = len(clip_units) // max(number, 1)
        rows.append((matched[..., None] * per_object + np.arange(per_object) + start).reshape(len(matched), -1))
        start += len(clip_units)
    return to_index(np.concatenate(rows, 1).ravel(), device)


def join_targets(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenates tensors along the first axis; a single tensor is not copied."""
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def ignored_of(clip: ClipTargets) -> Tensor:
    """Ignored pixels (T, H, W) bool of a clip."""
    if clip.ignored is not None:
        return clip.ignored
    return clip.masks.new_zeros((clip.masks.shape[1], *clip.masks.shape[2:]))


def kept_points(ignored: Tensor | None, frame: int, coords: Tensor) -> Tensor | None:
    """Points of a frame that are not ignored.

    Args:
        ignored: Bool (T, H, W), True for ignored pixels, or None.
        frame: Index of the frame.
        coords: Normalised (x, y) coordinates (1, P, 2).

    Returns:
        Bool (P,), or None if ``ignored`` is None.
    """
    if ignored is None:
        return None
    row = torch.zeros(1, dtype=torch.long, device=coords.device)
    return sample_targets(ignored[None, frame : frame + 1], row, row[:, None], coords)[0] < 0.5


def to_index(numbers: np.ndarray, device: torch.device) -> Tensor:
    """Copies an array to an int64 tensor for indexing."""
    return torch.tensor(numbers, dtype=torch.long, device=device)
