"""The ground truth of one training clip."""
from dataclasses import dataclass

from torch import Tensor

from .axes import check_axes


@dataclass(frozen=True, eq=False)
class ClipTargets:
    """The objects of one clip.

    Attributes:
        labels (N,): int64 in [0, K).
        ids (N,): int64 >= 1, unique in the clip.
        masks (N, T, H, W): bool, at the padded input size.
        visible (N, T): bool, whether the object has a pixel in the frame.
        name: which clip this is, for messages.
    """
    labels: Tensor
    ids: Tensor
    masks: Tensor
    visible: Tensor
    name: str = 'unnamed clip'

    def __post_init__(self) -> None:
        check_axes(self, dict(labels='N', ids='N', masks='NTHW', visible='NT'))

    @classmethod
    def from_id_map(cls, id_map: Tensor, ids: Tensor, labels: Tensor,
                    name: str = 'unnamed clip') -> 'ClipTargets':
        """Targets from one map of ids (T, H, W); objects without a pixel in the clip are left out.

        Args:
            id_map (T, H, W): int32, 0 is void.
            ids (N,), labels (N,): the objects of the clip.
            name: which clip this is, for messages.
        """
        masks = id_map[None] == ids[:, None, None, None].to(id_map.dtype)
        visible = masks.flatten(2).any(-1)
        kept = visible.any(1)
        return cls(labels[kept], ids[kept], masks[kept], visible[kept], name)

    @property
    def first_frame(self) -> Tensor:
        """(N,) int64: the frame in which each object is seen first."""
        return self.visible.int().argmax(1)

    def frames(self) -> list:
        """One ClipTargets of a single frame for each frame, with the objects visible in it."""
        return [ClipTargets(self.labels[seen], self.ids[seen], self.masks[seen, t:t + 1], self.visible[seen, t:t + 1],
                            f'{self.name}, frame {t} of the clip')
                for t, seen in enumerate(self.visible.unbind(1))]
