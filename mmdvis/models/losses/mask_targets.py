"""Ground truth as the loss reads it: bool masks where they lie, and which of them each matched mask is compared with."""

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
    """Ground truth of the units that are compared.

    Attributes:
        units (V, T', H, W): bool, the masks of all objects.
        rows: int64, which of them each unit of each layer is compared with.
        void (V', T', H, W), void_rows: the same of pixels that are not compared; None: all are.
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
        """What the matched units of all layers are compared with; ``units`` makes (V, T', H, W) of masks (N, T, H, W)."""
        picked = [units(clip.masks) for clip in targets]
        rows = target_rows(pairs, picked, [len(clip.labels) for clip in targets], device)
        if all(clip.ignored is None for clip in targets):
            return cls(join_targets(picked), rows)
        voids = [units(ignored_of(clip)[None]) for clip in targets]
        pairs = [(slots, 0 * objects) for slots, objects in pairs]  # one void for all objects of a clip
        return cls(join_targets(picked), rows, join_targets(voids), target_rows(pairs, voids, [1] * len(voids), device))

    def layers(self, block: slice, number: int) -> 'MaskTargets':
        """The same for a block of the ``number`` layers."""
        rows, void_rows = (
            None if x is None else x.view(number, -1)[block].flatten() for x in (self.rows, self.void_rows)
        )
        return replace(self, rows=rows, void_rows=void_rows)

    def at(self, frames: Tensor, coords: Tensor) -> tuple[Tensor, Tensor | None]:
        """Values (N, P) at points of each row, and whether they count, float (N, P) or None."""
        wanted = sample_targets(self.units, self.rows, frames, coords)
        if self.void is None:
            return wanted, None
        kept = (sample_targets(self.void, self.void_rows, frames, coords) < 0.5).float()
        return wanted * kept, kept


def target_rows(
    pairs: Sequence[Pairs], units: Sequence[Tensor], objects: Sequence[int], device: torch.device
) -> Tensor:
    """Which of all truth units each row of (layer, matched unit) is compared with: (L * U,) int64.

    Args:
        pairs: of each clip.
        units: of each clip, those of its objects one after the other.
        objects: of each clip, how many it has.
        device: of the result.
    """
    rows, start = [], 0
    for (_, matched), unit, number in zip(pairs, units, objects):
        per_object = len(unit) // max(number, 1)
        rows.append((matched[..., None] * per_object + np.arange(per_object) + start).reshape(len(matched), -1))
        start += len(unit)
    return to_index(np.concatenate(rows, 1).ravel(), device)


def join_targets(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors one after the other; a single one is not copied."""
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def ignored_of(clip: ClipTargets) -> Tensor:
    """The pixels (T, H, W) bool of a clip that no mask is compared at."""
    if clip.ignored is not None:
        return clip.ignored
    return clip.masks.new_zeros((clip.masks.shape[1], *clip.masks.shape[2:]))


def kept_points(ignored: Tensor | None, frame: int, coords: Tensor) -> Tensor | None:
    """Which points (1, P, 2) of a frame count, (P,) bool; None where all do."""
    if ignored is None:
        return None
    row = torch.zeros(1, dtype=torch.long, device=coords.device)
    return sample_targets(ignored[None, frame : frame + 1], row, row[:, None], coords)[0] < 0.5


def to_index(numbers: np.ndarray, device: torch.device) -> Tensor:
    """A copy of the numbers as a tensor that indexes."""
    return torch.tensor(numbers, dtype=torch.long, device=device)
