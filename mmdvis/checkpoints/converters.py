"""Converters of checkpoints of detectron2, mmdet and transformers to the tensor names of mmdvis."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmdvis.io import atomic_write

from .key_maps import (
    ALIASES,
    DETECTRON2,
    DETECTRON2_DROPPED,
    MMDET,
    MMDET_DROPPED,
    TRANSFORMERS,
    TRANSFORMERS_DROPPED,
    Rule,
)

TRAINED_OPTIONS = {  # option that cannot be derived from tensor shapes -> stage whose weights depend on it
    'segmenter.masked': 'segmenter',
    'segmenter.normed_state': 'segmenter',
    'segmenter.normed_embeds': 'tracker',
    'tracker.legacy_inverse_match': 'tracker',
    'tracker.start': 'tracker',
    'tracker.cross_attention': 'tracker',
    'tracker.context': 'refiner',
    'tracker.normed_outputs': 'refiner',
}
RELEASED_OPTIONS: dict[str, dict[str, Any]] = {  # values of these options in released weights
    'dvis': {
        'segmenter.normed_embeds': True,
        'tracker.legacy_inverse_match': True,
        'tracker.start': 'matched',
        'tracker.cross_attention': 'referring',
        'tracker.context': 'first_frame',
        'tracker.normed_outputs': True,
    },
    'dvis_plus': {
        'segmenter.normed_embeds': False,
        'tracker.legacy_inverse_match': False,
        'tracker.start': 'matched',
        'tracker.cross_attention': 'referring',
        'tracker.context': 'embeds',
        'tracker.normed_outputs': False,
    },
}


@dataclass(frozen=True)
class Conversion:
    """A converted checkpoint.

    Attributes:
        state_dict: Name in mmdvis -> tensor.
        renamed: Original name -> name in mmdvis.
        reasons: Original name -> remark, for tensors that need one.
        dropped: Original name -> reason why the tensor is not needed.
        leftover: Original names that no rule matches.
        switches: Options that the weights were trained with and that cannot be derived from tensor shapes.
    """

    state_dict: dict[str, Tensor]
    renamed: dict[str, str]
    reasons: dict[str, str]
    dropped: dict[str, str]
    leftover: tuple[str, ...]
    switches: dict[str, Any]

    def report(self) -> list[str]:
        """One line per tensor and option, and a line with the totals."""
        why = {old: f' ({reason})' for old, reason in self.reasons.items()}
        return [
            *(f'renamed  {old} -> {new}{why.get(old, "")}' for old, new in self.renamed.items()),
            *(f'dropped  {old}: {reason}' for old, reason in self.dropped.items()),
            *(f'left     {old}' for old in self.leftover),
            *(f'needs    {name} = {value!r}' for name, value in self.switches.items()),
            f'{len(self.renamed)} renamed, {len(self.dropped)} dropped, {len(self.leftover)} left over',
        ]

    def unexpected(self, allowed: Sequence[str]) -> list[str]:
        """Names of :attr:`leftover` that begin with none of the prefixes ``allowed``."""
        return [name for name in self.leftover if not name.startswith(tuple(allowed))]

    def save(self, path: str | Path, source: str, allow_leftover: Sequence[str] = ()) -> None:
        """Writes a checkpoint.

        Args:
            path: Path to write to.
            source: Path of the original checkpoint; its name is stored in the meta information.
            allow_leftover: Prefixes of names of tensors that may be left over.

        Raises:
            ValueError: If other tensors are left over, there are no converted tensors, or ``path`` is ``source``.
            OSError: If the file cannot be written.
        """
        if not self.state_dict:
            example = next(iter(self.leftover), 'no tensors')
            raise ValueError(
                f'{source} contains no tensors that this converter supports, but {example}; nothing was written. '
                'Use the converter of the project that the weights come from'
            )
        left = self.unexpected(allow_leftover)
        if left:
            raise ValueError(
                f'{len(left)} tensors of {source} have no counterpart in mmdvis, such as {left[0]}; nothing was '
                'written. Pass their prefix to --allow-leftover to drop them'
            )
        if Path(path).resolve() == Path(source).resolve():
            raise ValueError(f'{path} is the source file; choose another output file')
        meta = dict(source=Path(source).name, switches=self.switches)
        with atomic_write(path) as temporary:
            try:
                torch.save(dict(meta=meta, state_dict=self.state_dict), temporary)
            except RuntimeError as error:  # torch raises it if the disk is full
                raise OSError(f'{path} cannot be written: {str(error).splitlines()[0]}') from None


def stage_of(name: str) -> str:
    """Name of the stage that a tensor belongs to, which is the first part of its name."""
    return name.split('.')[0]


def rename_key(name: str, rules: Sequence[Rule]) -> tuple[str, str]:
    """Renames a tensor by the first rule that matches the beginning of its name.

    Args:
        name: Original name.
        rules: Rules in order of precedence.

    Returns:
        New name and remark of the rule; two empty strings if no rule matches.
    """
    for rule in rules:
        pattern = '^' + re.sub(r'(?<!\\)\.', r'\.', rule.source)
        if re.match(pattern, name):
            return re.sub(pattern, rule.target, name, count=1), rule.why
    return '', ''


def convert(
    weights: dict[str, Tensor],
    rules: Sequence[Rule],
    aliases: Sequence[Rule],
    dropped: dict[str, str],
    change: Callable[[str, Tensor], Tensor],
) -> Conversion:
    """Converts a state dict by renaming its tensors.

    Args:
        weights: Original state dict.
        rules: Rules in order of precedence.
        aliases: Rules that are applied to a name before ``rules``.
        dropped: Pattern of names -> reason why these tensors are not needed.
        change: Function of the new name and the tensor that returns the tensor in the layout of mmdvis.

    Raises:
        ValueError: If two tensors get the same name.
    """
    state: dict[str, Tensor] = {}
    renamed: dict[str, str] = {}
    reasons: dict[str, str] = {}
    dropped_names: dict[str, str] = {}
    leftover: list[str] = []
    for name, tensor in weights.items():
        alias, reason = rename_key(name, aliases)
        why = next((why for pattern, why in dropped.items() if re.match(pattern, alias or name)), None)
        if why is not None:
            dropped_names[name] = why
            continue
        new_name, remark = rename_key(alias or name, rules)
        if not new_name:
            leftover.append(name)
            continue
        if new_name in state:
            other = next(old for old, target in renamed.items() if target == new_name)
            raise ValueError(
                f'{name} and {other} would both become {new_name}; the file contains the same weights twice'
            )
        renamed[name], state[new_name] = new_name, change(new_name, tensor)
        if reason or remark:
            reasons[name] = reason or remark
    return Conversion(state, renamed, reasons, dropped_names, tuple(leftover), released_options(state))


def reorder_swin(name: str, tensor: Tensor) -> Tensor:
    """The tensor ``name`` in the layout of mmdvis; only the patch merging layers of Swin change."""
    return reorder_patch_merging(tensor) if '.backbone.stages.' in name and '.downsample.' in name else tensor


def convert_detectron2(official: dict[str, Tensor]) -> Conversion:
    """Converts a detectron2 state dict of Mask2Former, MinVIS, DVIS or DVIS++."""
    return convert(official, DETECTRON2, ALIASES, DETECTRON2_DROPPED, reorder_swin)


def convert_mmdet(official: dict[str, Tensor]) -> Conversion:
    """Converts a state dict of Mask2Former from mmdet, for images or videos."""
    return convert(official, MMDET, (), MMDET_DROPPED, lambda name, tensor: tensor)


def convert_transformers(official: dict[str, Tensor]) -> Conversion:
    """Converts a state dict of ``Mask2FormerForUniversalSegmentation`` of transformers with a Swin backbone.

    Both the tensor names of the files on the hub and those of the class are supported.
    """
    return convert(concatenate_qkv(official), TRANSFORMERS, (), TRANSFORMERS_DROPPED, reorder_swin)


def concatenate_qkv(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Concatenates the query, key and value projections of self-attention to ``<module>.qkv.weight`` and ``.bias``."""
    pattern = re.compile(
        r'(.*(?:attention|attention\.self|decoder\.layers\.\d+\.self_attn))\.(query|key|value|[qkv]_proj)\.(weight|bias)$'
    )
    order = dict(query=0, key=1, value=2, q_proj=0, k_proj=1, v_proj=2)
    joined: dict[str, Tensor] = {}
    groups: dict[str, dict[int, Tensor]] = {}
    for name, tensor in official.items():
        match = pattern.match(name)
        if match and 'pixel_level_module.decoder' not in name:
            groups.setdefault(f'{match.group(1)}.qkv.{match.group(3)}', {})[order[match.group(2)]] = tensor
        else:
            joined[name] = tensor
    for name, parts in groups.items():
        if len(parts) == 3:
            joined[name] = torch.cat([parts[k] for k in range(3)])
        else:
            joined.update({f'{name} (part {k})': tensor for k, tensor in parts.items()})
    return joined


def released_options(state: dict[str, Tensor]) -> dict[str, Any]:
    """Options that released weights were trained with, for the stages that a state dict contains."""
    family = 'dvis_plus' if any(name.startswith('tracker.ref_proj.') for name in state) else 'dvis'
    stages = set(map(stage_of, state))
    return {name: value for name, value in RELEASED_OPTIONS[family].items() if TRAINED_OPTIONS[name] in stages}


def reorder_patch_merging(tensor: Tensor) -> Tensor:
    """Reorders the channels of a patch merging layer of Swin to the order of mmdet.

    Swin concatenates the four neighbours (0, 0), (1, 0), (0, 1), (1, 1) with c channels each. mmdet unfolds them
    channel by channel in the order (0, 0), (0, 1), (1, 0), (1, 1).

    Args:
        tensor: Weight (2c, 4c) of the linear layer, or weight or bias (4c,) of the norm.

    Raises:
        ValueError: If the last dimension is not a multiple of four.
    """
    if tensor.shape[-1] % 4:
        raise ValueError(
            f'the last dimension of a patch merging weight must be a multiple of four, got {tuple(tensor.shape)}'
        )
    blocks = tensor.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return blocks.transpose(-1, -2).flatten(-2).contiguous()
