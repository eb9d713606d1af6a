"""A checkpoint of any supported project, converted to the names of mmdvis in memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mmdvis.errors import CheckpointError

from .converters import CONVERTERS
from .reader import MapLocation, meta_of, read_checkpoint, state_dict_of

MARKERS = {  # format -> parts of tensor names that only this format has
    'detectron2': (
        'sem_seg_head.',
        'offline_tracker.',
        'tracker.transformer_',
        'refiner.transformer_',
        'backbone.res2.',
    ),
    'transformers': ('model.pixel_level_module.', 'model.transformer_module.'),
    'mmdet': ('panoptic_head.', 'track_head.'),
}


@dataclass(frozen=True)
class Checkpoint:
    """Weights with the names of mmdvis, and what is known about them.

    Attributes:
        weights: name -> tensor.
        meta: meta information: ``dataset_meta`` (classes), ``switches`` (options that the weights were trained with),
            ``cfg`` (the text of the training config), ... as far as the file has them.
        origin: the file, for messages.
        format: ``'mmdvis'``, ``'detectron2'``, ``'transformers'`` or ``'mmdet'``.
    """

    weights: dict[str, Tensor]
    meta: dict[str, Any]
    origin: str
    format: str

    @classmethod
    def read(
        cls,
        path: str | Path,
        map_location: MapLocation = 'cpu',
        trust: bool = False,
        suffix: str = '',
        allow_leftover: Sequence[str] = (),
    ) -> 'Checkpoint':
        """Reads a file and converts it if it comes from another project.

        Args:
            path: as for :func:`read_checkpoint`.
            map_location: as for :func:`read_checkpoint`.
            trust: as for :func:`read_checkpoint`.
            suffix: as for :func:`read_checkpoint`.
            allow_leftover: prefixes of tensor names that may be unknown to the converter.

        Raises:
            CheckpointError: the file is damaged or unsafe, or has tensors that the converter does not know.
        """
        content = read_checkpoint(path, map_location, trust, suffix)
        return cls.from_content(content, str(path), allow_leftover)

    @classmethod
    def from_content(cls, content: dict[str, Any], origin: str, allow_leftover: Sequence[str] = ()) -> 'Checkpoint':
        """Converts the content of a file; see :meth:`read`."""
        weights, meta = state_dict_of(content), meta_of(content)
        kind = checkpoint_format(weights)
        if kind == 'mmdvis':
            return cls(weights, meta, origin, kind)
        result = CONVERTERS[kind](weights)
        leftover = [name for name in result.leftover if not name.startswith(tuple(allow_leftover))]
        if leftover:
            raise CheckpointError(
                f'{origin} is a {kind} checkpoint with {len(leftover)} tensors that have no place in mmdvis, such as '
                f'{leftover[0]}; convert it with tools/model_converters and --allow-leftover to drop them'
            )
        return cls(result.state_dict, dict(meta, switches=result.switches), origin, kind)


def checkpoint_format(names: Iterable[str]) -> str:
    """The project whose tensor names these are; ``'mmdvis'`` unless they have the marks of another one."""
    for kind, markers in MARKERS.items():
        if any(name.startswith(markers) for name in names):
            return kind
    return 'mmdvis'
