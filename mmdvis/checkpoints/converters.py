"""Weights of other projects -> ours, by tables of renames; two tensors change besides their name."""

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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

RELEASED_OPTIONS: dict[str, dict[tuple[str, str], Any]] = (
    dict(  # (option, stage that depends on it) of released weights
        dvis={
            ('segmenter.normed_embeds', 'tracker'): True,
            ('tracker.legacy_inverse_match', 'tracker'): True,
            ('tracker.start', 'tracker'): 'matched',
            ('tracker.cross_attention', 'tracker'): 'referring',
            ('tracker.context', 'refiner'): 'first_frame',
            ('tracker.normed_outputs', 'refiner'): True,
        },
        dvis_plus={
            ('segmenter.normed_embeds', 'tracker'): False,
            ('tracker.legacy_inverse_match', 'tracker'): False,
            ('tracker.start', 'tracker'): 'matched',
            ('tracker.cross_attention', 'tracker'): 'referring',
            ('tracker.context', 'refiner'): 'embeds',
            ('tracker.normed_outputs', 'refiner'): False,
        },
    )
)


@dataclass(frozen=True)
class Conversion:
    """A converted checkpoint.

    Attributes:
        state_dict: our names.
        renamed: their name -> our name.
        reasons: their name -> what is special about it, where something is.
        dropped: their name -> why.
        leftover: their names that no rule knows.
        switches: options that the weights were trained with and no shape shows.
    """

    state_dict: dict[str, Tensor]
    renamed: dict[str, str]
    reasons: dict[str, str]
    dropped: dict[str, str]
    leftover: tuple[str, ...]
    switches: dict[str, Any]

    def report(self) -> list[str]:
        """A line for every tensor, and their numbers."""
        why = {old: f' ({reason})' for old, reason in self.reasons.items()}
        return [
            *(f'renamed  {old} -> {new}{why.get(old, "")}' for old, new in self.renamed.items()),
            *(f'dropped  {old}: {reason}' for old, reason in self.dropped.items()),
            *(f'left     {old}' for old in self.leftover),
            *(f'needs    {name} = {value!r}' for name, value in self.switches.items()),
            f'{len(self.renamed)} renamed, {len(self.dropped)} dropped, {len(self.leftover)} left over',
        ]

    def save(self, path: str | Path, source: str, allow_leftover: Sequence[str] = ()) -> None:
        """Writes a checkpoint.

        Args:
            path: where to.
            source: where the weights come from, to be kept in it.
            allow_leftover: beginnings of names that may be left over.

        Raises:
            ValueError: other names are left over, or there is no weight at all.
        """
        if not self.state_dict:
            example = next(iter(self.leftover), 'no tensor at all')
            raise ValueError(
                f'{source} holds nothing that this converter knows, but {example}; nothing was written. '
                'Take the converter of the project that the weights come from'
            )
        left = [name for name in self.leftover if not name.startswith(tuple(allow_leftover))]
        if left:
            raise ValueError(
                f'{len(left)} tensors of {source} have no place in mmdvis, the first is {left[0]}; nothing was '
                'written. Name their prefix in --allow-leftover to go on without them'
            )
        if Path(path).resolve() == Path(source).resolve():
            raise ValueError(f'{path} is the source itself; name another file to write')
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        meta = dict(source=Path(source).name, switches=self.switches)
        with tempfile.TemporaryDirectory(prefix='.part-', dir=Path(path).parent) as folder:
            try:
                torch.save(dict(meta=meta, state_dict=self.state_dict), Path(folder) / 'weights.pth')
            except RuntimeError as error:  # torch's word for a full disk
                raise OSError(f'{path} cannot be written: {str(error).splitlines()[0]}') from None
            os.replace(Path(folder) / 'weights.pth', path)


def rename_key(name: str, rules: Sequence[Rule]) -> tuple[str, str]:
    """The new name by the first rule that knows the beginning of ``name``, and its reason; two empty texts if none."""
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
    """Renames weights.

    Args:
        weights: as the other project names them.
        rules: tried in their order.
        aliases: applied to a name before the rules.
        dropped: pattern -> why such a tensor is not needed.
        change: our name, tensor -> the tensor in our layout.

    Raises:
        ValueError: two tensors get one name.
    """
    state: dict[str, Tensor] = {}
    renamed: dict[str, str] = {}
    reasons: dict[str, str] = {}
    gone: dict[str, str] = {}
    leftover: list[str] = []
    for name, tensor in weights.items():
        alias, reason = rename_key(name, aliases)
        why = next((why for pattern, why in dropped.items() if re.match(pattern, alias or name)), None)
        if why is not None:
            gone[name] = why
            continue
        new, special = rename_key(alias or name, rules)
        if not new:
            leftover.append(name)
            continue
        if new in state:
            other = next(old for old, target in renamed.items() if target == new)
            raise ValueError(f'{name} and {other} would both become {new}; the file holds the same weights twice')
        renamed[name], state[new] = new, change(new, tensor)
        if reason or special:
            reasons[name] = reason or special
    return Conversion(state, renamed, reasons, gone, tuple(leftover), released_options(state))


def convert_detectron2(official: dict[str, Tensor]) -> Conversion:
    """Converts a state dict of Mask2Former, MinVIS, DVIS or DVIS++ as detectron2 names it."""

    def change(name: str, tensor: Tensor) -> Tensor:
        return reorder_patch_merging(tensor) if '.backbone.stages.' in name and '.downsample.' in name else tensor

    return convert(official, DETECTRON2, ALIASES, DETECTRON2_DROPPED, change)


def convert_mmdet(official: dict[str, Tensor]) -> Conversion:
    """Converts a state dict of mmdet's Mask2Former, of its image or its video model."""
    return convert(official, MMDET, (), MMDET_DROPPED, lambda name, tensor: tensor)


def convert_transformers(official: dict[str, Tensor]) -> Conversion:
    """Converts a state dict of transformers' ``Mask2FormerForUniversalSegmentation`` with a Swin backbone.

    Both the names of the files on the hub and those of the class are accepted.
    """

    def change(name: str, tensor: Tensor) -> Tensor:
        return reorder_patch_merging(tensor) if '.backbone.stages.' in name and '.downsample.' in name else tensor

    return convert(concatenate_qkv(official), TRANSFORMERS, (), TRANSFORMERS_DROPPED, change)


CONVERTERS = dict(detectron2=convert_detectron2, mmdet=convert_mmdet, transformers=convert_transformers)


def concatenate_qkv(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """Joins separate query, key and value projections of self-attention as ``<module>.qkv.weight`` and ``.bias``."""
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
    """The options that released weights of these names were trained with, for the stages that they contain."""
    family = 'dvis_plus' if any(name.startswith('tracker.ref_proj.') for name in state) else 'dvis'
    stages = {name.split('.')[0] for name in state}
    return {name: value for (name, stage), value in RELEASED_OPTIONS[family].items() if stage in stages}


def reorder_patch_merging(tensor: Tensor) -> Tensor:
    """Swin's patch merging in mmdet's order.

    Swin stores the four neighbours side by side as (0, 0), (1, 0), (0, 1), (1, 1), each c wide; mmdet unfolds them
    channel by channel in the order (0, 0), (0, 1), (1, 0), (1, 1). Takes the weight (2c, 4c) or a
    vector of the norm (4c,).
    """
    if tensor.shape[-1] % 4:
        raise ValueError(f"a weight of Swin's patch merging has a width of four parts, got {tuple(tensor.shape)}")
    blocks = tensor.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return blocks.transpose(-1, -2).flatten(-2).contiguous()
