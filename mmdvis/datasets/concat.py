"""Concatenation of datasets for joint training, with the same classes and the same clip sampling."""

from collections.abc import Sequence
from typing import Any

from mmengine.dataset import ConcatDataset

from mmdvis.registry import DATASETS

from .drawn_index import DrawnIndex


@DATASETS.register_module()
class ConcatClipDataset(ConcatDataset):
    """A concatenation of named datasets with the same classes, so that configs can override one of them.

    :class:`ClipSampler` draws from it with the given ``ratios``, in the order of the names.

    Args:
        datasets: name -> config of a dataset.
        clip: arguments of :class:`SampleClip` for every part.
        augment: entries added to the ``augment`` of every part.
        ignore_keys: meta information that may differ between the parts.
    """

    def __init__(
        self,
        datasets: dict[str, dict[str, Any]],
        clip: dict | None = None,
        augment: dict | None = None,
        ignore_keys: Sequence[str] = ('dataset_type', 'palette'),
    ) -> None:
        parts = [DATASETS.build(with_shared_options(config, clip, augment)) for config in datasets.values()]
        super().__init__(parts, ignore_keys=list(ignore_keys))

    def _get_ori_dataset_idx(self, idx: int) -> tuple[int, int]:
        """Number of the part and index in it; a seed of the index is kept."""
        part, index = super()._get_ori_dataset_idx(idx)
        return part, DrawnIndex(index, idx.seed) if isinstance(idx, DrawnIndex) else index


def with_shared_options(config: dict[str, Any], clip: dict | None, augment: dict | None) -> dict[str, Any]:
    """The config of a part with the ``clip`` and the additional ``augment`` entries of its concatenation."""
    shared: dict[str, Any] = {} if clip is None else dict(clip=clip)
    if augment:
        shared['augment'] = dict(config.get('augment') or {}, **augment)
    return dict(config, **shared)
