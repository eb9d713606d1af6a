"""Several datasets with the classes of the last one, whose clips are made alike."""

from collections.abc import Sequence
from typing import Any

from mmengine.dataset import ConcatDataset

from mmdvis.registry import DATASETS


@DATASETS.register_module()
class ConcatClipDataset(ConcatDataset):
    """A concatenation whose parts have names, so that configs can override one of them, and one ``clip`` for all.

    :class:`ClipSampler` draws from it, by ``ratios`` in the order of the names.

    Args:
        datasets: name -> config; all have the same classes.
        clip: arguments of :class:`SampleClip` for every part.
        ignore_keys: meta information that may differ.
    """

    def __init__(
        self,
        datasets: dict[str, dict[str, Any]],
        clip: dict | None = None,
        ignore_keys: Sequence[str] = ('dataset_type', 'palette'),
    ) -> None:
        parts = [DATASETS.build(dict(part, **({} if clip is None else dict(clip=clip)))) for part in datasets.values()]
        super().__init__(parts, ignore_keys=list(ignore_keys))
