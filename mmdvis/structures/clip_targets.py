"""Ground truth of one training clip."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmdvis.checks import check_shapes

VOID = 255  # label of a pixel of unknown class


@dataclass(frozen=True, eq=False)
class ClipTargets:
    """Ground truth objects of one clip.

    Attributes:
        labels: Class labels (N,) int64 in [0, K).
        ids: Object ids (N,) int64, at least 1 and unique within the clip.
        masks: Masks (N, T, H, W) bool at the padded input size.
        visible: Whether the object has a pixel in the frame, (N, T) bool.
        name: Name of the clip for error messages.
        ignored: Pixels excluded from the mask loss, (T, H, W) bool; None excludes none.
        semantic: Class labels (T, H, W) uint8 of all pixels, ``VOID`` if unknown, where they differ from those of the
            objects; None if the objects are all that is known.
    """

    labels: Tensor
    ids: Tensor
    masks: Tensor
    visible: Tensor
    name: str = 'unnamed clip'
    ignored: Tensor | None = None
    semantic: Tensor | None = None

    def __post_init__(self) -> None:
        pixels = {name: 'THW' for name in ('ignored', 'semantic') if getattr(self, name) is not None}
        check_shapes(self, dict(labels='N', ids='N', masks='NTHW', visible='NT', **pixels))

    @classmethod
    def from_index_maps(
        cls,
        maps: Tensor,
        ids: Tensor,
        labels: Tensor,
        name: str = 'unnamed clip',
        ignored: Tensor | None = None,
        semantic: Tensor | None = None,
    ) -> 'ClipTargets':
        """Creates targets from index maps; objects without a pixel in the clip are removed.

        Args:
            maps: Index maps (L, T, H, W) with 0 for background and n for the n-th object; L > 1 only for overlapping
                objects.
            ids: Object ids (N,).
            labels: Class labels (N,).
            name: Name of the clip for error messages.
            ignored: Ignored pixels (T, H, W), see :attr:`ignored`.
            semantic: Class labels (T, H, W), see :attr:`semantic`.
        """
        object_indices = torch.arange(1, len(ids) + 1, device=maps.device, dtype=maps.dtype).view(-1, 1, 1, 1)
        masks = maps[0] == object_indices
        for layer in maps[1:]:
            masks |= layer == object_indices
        visible = masks.flatten(2).any(-1)
        has_pixels = visible.any(1)
        kept = (labels[has_pixels], ids[has_pixels], masks[has_pixels], visible[has_pixels])
        return cls(*kept, name, ignored, semantic)

    @property
    def first_frame(self) -> Tensor:
        """First frame in which each object is visible, (N,) int64."""
        return self.visible.int().argmax(1)

    def frames(self) -> list:
        """Splits the clip into single-frame ``ClipTargets``, each with the objects visible in that frame."""
        return [
            ClipTargets(
                self.labels[is_visible],
                self.ids[is_visible],
                self.masks[is_visible, t : t + 1],
                self.visible[is_visible, t : t + 1],
                f'{self.name}, frame {t} of the clip',
                None if self.ignored is None else self.ignored[t : t + 1],
                None if self.semantic is None else self.semantic[t : t + 1],
            )
            for t, is_visible in enumerate(self.visible.unbind(1))
        ]
