"""Checkpoints of all supported projects, converted to the tensor names of mmdvis in memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mmdvis.errors import CheckpointError

from .converters import convert_detectron2, convert_mmdet, convert_transformers
from .eomt import convert_eomt
from .reader import meta_of, read_checkpoint, state_dict_of

CONVERTERS = dict(
    detectron2=convert_detectron2, eomt=convert_eomt, mmdet=convert_mmdet, transformers=convert_transformers
)
MARKERS = {  # format -> parts of tensor names that only this format has
    'detectron2': (
        'sem_seg_head.',
        'offline_tracker.',
        'tracker.transformer_',
        'refiner.transformer_',
        'backbone.res2.',
    ),
    'eomt': ('upscale_block.', 'network.upscale.', 'backbone.upscale.'),
    'transformers': ('model.pixel_level_module.', 'model.transformer_module.'),
    'mmdet': (
        'panoptic_head.',
        *(
            f'track_head.{part}'
            for part in ('pixel_decoder.', 'transformer_decoder.', 'query_', 'cls_embed', 'mask_embed')
        ),
    ),  # other models have a track_head, too
}


@dataclass(frozen=True)
class Checkpoint:
    """Weights with the tensor names of mmdvis, and meta information.

    Attributes:
        weights: Name -> tensor.
        meta: Meta information of the file, e.g. ``dataset_meta`` (classes), ``switches`` (options that the weights were
            trained with) and ``cfg`` (text of the training config).
        origin: Name of the file in error messages.
        format: Original format: ``'mmdvis'``, ``'detectron2'``, ``'transformers'``, ``'eomt'`` or
            ``'mmdet'``.
    """

    weights: dict[str, Tensor]
    meta: dict[str, Any]
    origin: str
    format: str

    @classmethod
    def read(cls, path: str | Path, trust: bool = False) -> 'Checkpoint':
        """Reads a checkpoint and converts it if it comes from another project.

        Args:
            path: Path of the file.
            trust: See :func:`read_checkpoint`.

        Raises:
            CheckpointError: If the file is damaged or unsafe, or has tensors that the converter does not support.
        """
        return cls.from_content(read_checkpoint(path, trust=trust), str(path))

    @classmethod
    def from_content(cls, content: dict[str, Any], origin: str, allow_leftover: Sequence[str] = ()) -> 'Checkpoint':
        """Converts the content of a checkpoint file; see :meth:`read`.

        Args:
            content: Content of the file.
            origin: Name of the file in error messages.
            allow_leftover: Prefixes of names of tensors that the converter may ignore.

        Raises:
            CheckpointError: If the file has tensors that the converter does not support.
        """
        weights, meta = state_dict_of(content), meta_of(content)
        kind = checkpoint_format(weights)
        if kind == 'mmdvis':
            return cls(weights, meta, origin, kind)
        try:
            result = CONVERTERS[kind](weights)
        except CheckpointError as error:
            raise CheckpointError(f'{origin}: {error}') from None
        leftover = result.unexpected(allow_leftover)
        if leftover:
            raise CheckpointError(
                f'{origin} is a {kind} checkpoint with {len(leftover)} tensors without counterpart in mmdvis, such as '
                f'{leftover[0]}; remove them from the file, or drop them with --allow-leftover of its converter in '
                'tools/model_converters'
            )
        return cls(result.state_dict, dict(meta, switches=result.switches), origin, kind)


def checkpoint_format(names: Iterable[str]) -> str:
    """Format of a checkpoint by its tensor names: detectron2, transformers, mmdet, or mmdvis if no other matches."""
    for kind, markers in MARKERS.items():
        if any(name.startswith(markers) for name in names):
            return kind
    return 'mmdvis'
