"""The ground truth of one training clip."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmdvis.checks import check_shapes


@dataclass(frozen=True, eq=False)
class ClipTargets:
    """The objects of one clip.

    Attributes:
        labels (N,): int64 in [0, K).
        ids (N,): int64 >= 1, unique in the clip.
        masks (N, T, H, W): bool, at the padded input size.
        visible (N, T): bool, whether the object has a pixel in the frame.
        name: which clip this is, for messages.
        ignored (T, H, W): bool, pixels that no mask is compared at; None: all are.
    """

    labels: Tensor
    ids: Tensor
    masks: Tensor
    visible: Tensor
    name: str = 'unnamed clip'
    ignored: Tensor | None = None

    def __post_init__(self) -> None:
        check_shapes(
            self,
            dict(
                labels='N', ids='N', masks='NTHW', visible='NT', **({} if self.ignored is None else dict(ignored='THW'))
            ),
        )

    @classmethod
    def from_index_maps(
        cls, maps: Tensor, ids: Tensor, labels: Tensor, name: str = 'unnamed clip', ignored: Tensor | None = None
    ) -> 'ClipTargets':
        """Targets from maps of indices; objects without a pixel in the clip are left out.

        Args:
            maps (L, T, H, W): 0 where no object is, n where the n-th is; L > 1 only where objects overlap.
            ids (N,), labels (N,): the objects of the clip.
            name: which clip this is, for messages.
            ignored (T, H, W): see :attr:`ignored`.
        """
        numbers = torch.arange(1, len(ids) + 1, device=maps.device, dtype=maps.dtype).view(-1, 1, 1, 1)
        masks = maps[0] == numbers
        for layer in maps[1:]:
            masks |= layer == numbers
        visible = masks.flatten(2).any(-1)
        kept = visible.any(1)
        return cls(labels[kept], ids[kept], masks[kept], visible[kept], name, ignored)

    @property
    def first_frame(self) -> Tensor:
        """(N,) int64: the frame in which each object is seen first."""
        return self.visible.int().argmax(1)

    def frames(self) -> list:
        """One ClipTargets of a single frame for each frame, with the objects visible in it."""
        return [
            ClipTargets(
                self.labels[seen],
                self.ids[seen],
                self.masks[seen, t : t + 1],
                self.visible[seen, t : t + 1],
                f'{self.name}, frame {t} of the clip',
                None if self.ignored is None else self.ignored[t : t + 1],
            )
            for t, seen in enumerate(self.visible.unbind(1))
        ]
