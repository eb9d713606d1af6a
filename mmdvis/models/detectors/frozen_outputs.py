"""Outputs of frozen stages from a cache.

An entry is found by the inputs, the weights, the config and the code of the stage, precision and device. The results
are therefore those of the stage itself, with every augmentation. The cache pays off if the same frames return, as they
do without random scales and crops.
"""

import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache as cache_function
from pathlib import Path
from typing import Any, Protocol

import torch
from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmdvis.structures import FrameQueries, TrackQueries


class OutputCache(Protocol):
    """Cache of named tensors; see :class:`mmdvis.io.TensorCache`."""

    def key(self, *parts: str | Tensor) -> str:
        """Key of what an entry is computed from."""

    def fingerprint(self, text: str, weights: Iterable[Tensor]) -> str:
        """Key of a text and of weights."""

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors of an entry, or None."""

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Stores the tensors of an entry."""


def frozen_cache() -> OutputCache | None:
    """Cache of this training, set by :class:`mmdvis.engine.FrozenOutputCacheHook`; None without one."""
    return MessageHub.get_current_instance().get_info('frozen_cache')


def cached_queries(cache: OutputCache, text: str, segmenter: nn.Module, clips: Tensor) -> FrameQueries:
    """Queries of normalised clips (B, T, 3, H, W), each frame computed on its own.

    Args:
        cache: The cache.
        text: Config of the segmenter.
        segmenter: The segmenter, frozen.
        clips: The clips.
    """
    stage = stage_key(cache, text, segmenter, clips.device)
    frames = [find(cache, stage, lambda x: segmenter(x[None, None]), frame, frame) for frame in clips.flatten(0, 1)]
    fields = {name: torch.cat([frame[name] for frame in frames]) for name in FrameQueries.AXES}
    return FrameQueries(**{name: x.flatten(0, 1).unflatten(0, clips.shape[:2]) for name, x in fields.items()})


def cached_tracks(cache: OutputCache, text: str, tracker: nn.Module, queries: FrameQueries) -> TrackQueries:
    """Tracks of clips, each computed on its own; their mask features are those of the queries.

    Args:
        cache: The cache.
        text: Config of the tracker.
        tracker: The tracker, frozen.
        queries: Queries of the clips.
    """
    stage, clips = stage_key(cache, text, tracker, queries.embeds.device), []
    for b in range(len(queries.present)):
        clip = FrameQueries(**{name: getattr(queries, name)[b : b + 1] for name in FrameQueries.AXES})
        inputs = [getattr(clip, name) for name in FrameQueries.AXES if name != 'mask_features']
        clips.append(find(cache, stage, lambda x: tracker(x)[0].without_features(), clip, *inputs))
    fields = {name: torch.cat([clip[name] for clip in clips]) for name in TrackQueries.IN_TIME}
    return replace(TrackQueries(clips[0]['ids'], **fields), mask_features=queries.mask_features)


def stage_key(cache: OutputCache, text: str, stage: nn.Module, device: torch.device) -> str:
    """Key of config, weights and code of a stage, and of the precision and device with which it is computed."""
    precision = str(torch.get_autocast_dtype(device.type)) if torch.is_autocast_enabled(device.type) else 'full'
    code = source_hash(type(stage))
    key = cache.fingerprint(f'{text} {torch.__version__} {code}', stage.state_dict().values())
    return key + precision + device.type


@cache_function
def source_hash(kind: type) -> str:
    """Hash of the source files that define a stage and its layers, so that changed code computes its outputs again."""
    digest = hashlib.blake2b(digest_size=8)
    for path in [*sorted(Path(__file__).parent.parent.rglob('*.py')), Path(inspect.getfile(kind))]:
        digest.update(path.read_bytes() if path.is_file() else b'')
    return digest.hexdigest()


def find(
    cache: OutputCache, stage: str, compute: Callable[[Any], Any], value: Any, *inputs: Tensor
) -> dict[str, Tensor]:
    """Fields of the output of a stage for one frame or clip.

    Args:
        cache: The cache.
        stage: Result of :func:`stage_key`.
        compute: Computes the output.
        value: Argument of ``compute``.
        inputs: Tensors that the output depends on.
    """
    key = cache.key(stage, *inputs)
    found = cache.get(key)
    if found is None:
        output = compute(value)
        found = {name: getattr(output, name) for name in output.AXES}
        cache.put(key, found)
    return {name: tensor.to(inputs[0].device) for name, tensor in found.items()}
