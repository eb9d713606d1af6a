"""Checks which tensors of a checkpoint a model loads, and loads them.

:class:`CheckpointLoadingHook` calls :func:`checked_weights`; the API, test runs and the parity check call
:func:`load_weights`.
"""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmdvis.errors import CheckpointError
from mmdvis.registry import MODELS
from mmdvis.structures import STAGES

from .checkpoint import Checkpoint
from .converters import TRAINED_OPTIONS, stage_of

RECOMPUTED_BUFFERS = ('num_batches_tracked', 'relative_position_index')  # buffers that other frameworks do not save
WITHOUT_WEIGHTS = ('CosineTracker', 'FixedTracker')  # trackers without parameters
CONFIG_PATHS = {'tracker.cross_attention': ('tracker', 'decoder', 'cross_attention')}  # option -> keys in configs


@dataclass(frozen=True)
class LoadPlan:
    """Which tensors of a checkpoint are loaded into a model.

    Attributes:
        weights: Name -> tensor that is loaded.
        new_stages: Stages of the model that the checkpoint does not contain; they stay randomly initialised.
        dropped_stages: Stages of the checkpoint that the model does not have.
        reinitialised: Names of tensors of the model that stay randomly initialised, as ``allow_mismatch`` permits.
        ignored: Names of unknown tensors of the checkpoint, as ``allow_mismatch`` permits.
    """

    weights: dict[str, Tensor]
    new_stages: tuple[str, ...]
    dropped_stages: tuple[str, ...]
    reinitialised: tuple[str, ...]
    ignored: tuple[str, ...]

    def notes(self) -> list[str]:
        """Warnings about stages and tensors that are not loaded."""
        templates = (
            ('the weights of the later stage {} were dropped', self.dropped_stages),
            ('it does not contain {}, which stays randomly initialised', self.new_stages),
            ('{} stays randomly initialised, as allow_mismatch permits', self.reinitialised),
            ('{} is unknown to the model and was ignored, as allow_mismatch permits', self.ignored),
        )
        return [text.format(name) for text, names in templates for name in names]


def load_weights(
    model: nn.Module, checkpoint: Checkpoint, required: Sequence[str] | None = None, allow_mismatch: Sequence[str] = ()
) -> None:
    """Loads a checkpoint into a model and warns about stages, tensors and options that differ.

    Args:
        model: Model, modified in place.
        checkpoint: Checkpoint to load.
        required: See :func:`plan_loading`.
        allow_mismatch: See :func:`plan_loading`.

    Raises:
        CheckpointError: If a tensor is missing, unknown or of another shape.
    """
    weights, messages = checked_weights(model, checkpoint, required, allow_mismatch)
    model.load_state_dict(weights, strict=False)
    for message in messages:
        warnings.warn(f'{checkpoint.origin}: {message}', stacklevel=2)


def checked_weights(
    model: nn.Module,
    checkpoint: Checkpoint,
    required: Sequence[str] | None = None,
    allow_mismatch: Sequence[str] = (),
    expected: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a checkpoint that a model loads.

    Args:
        model: Model; not changed.
        checkpoint: Checkpoint to load.
        required: See :func:`plan_loading`.
        allow_mismatch: See :func:`plan_loading`.
        expected: Tensors with the names and shapes of the weights of the model, if those of ``model`` are sharded.

    Returns:
        Name -> tensor, and warnings about stages, tensors and options that differ.

    Raises:
        CheckpointError: If a tensor is missing, unknown or of another shape.
    """
    expected = model.state_dict() if expected is None else expected
    weights = fitted(model, checkpoint.weights)
    plan = plan_loading(expected, weights, required, allow_mismatch, checkpoint.origin)
    return plan.weights, [*plan.notes(), *option_conflicts(model, checkpoint.meta.get('switches', {}))]


def fitted(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of the weights, in which tensors that may have another size, such as position embeddings, are resized."""
    result = dict(weights)
    for name, module in model.named_modules():
        if hasattr(module, 'fit_weights'):
            module.fit_weights(result, f'{name}.')
    return result


def missing_weights(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that a model needs and that are missing or have another shape.

    Args:
        expected: State dict of the model; buffers that are recomputed are not needed.
        weights: State dict of the checkpoint.
    """
    return [
        name
        for name, tensor in expected.items()
        if not name.endswith(RECOMPUTED_BUFFERS) and (name not in weights or weights[name].shape != tensor.shape)
    ]


def plan_loading(
    expected: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    required: Sequence[str] | None = None,
    allow_mismatch: Sequence[str] = (),
    origin: str = 'the checkpoint',
) -> LoadPlan:
    """Decides what a model loads from a checkpoint: each stage completely or, if it is not ``required``, not at all.

    Args:
        expected: State dict of the model.
        weights: State dict of the checkpoint.
        required: Stages that the checkpoint must contain; None requires all stages of the model.
        allow_mismatch: Prefixes of names of tensors that may be missing, unknown or of another shape.
        origin: Name of the checkpoint in error messages.

    Raises:
        CheckpointError: If a tensor is missing, unknown, of another shape, or not finite.
        ValueError: If ``required`` or ``allow_mismatch`` is a single string or contains an empty name.
    """
    for option, names in (('required', required or ()), ('allow_mismatch', allow_mismatch)):
        if isinstance(names, str) or not all(names):
            raise ValueError(f'{option} must be a list of non-empty names, got {names!r}')
    stages, available = sorted({stage_of(name) for name in expected}), {stage_of(name) for name in weights}
    needed = stages if required is None else required
    new_stages = tuple(stage for stage in stages if stage not in available and stage not in needed)
    dropped = tuple(stage for stage in STAGES if stage in available and stage not in stages)
    relevant = {name: tensor for name, tensor in weights.items() if stage_of(name) not in dropped}
    missing = [name for name in missing_weights(expected, relevant) if stage_of(name) not in new_stages]
    unknown = [name for name in relevant if name not in expected and not name.endswith(RECOMPUTED_BUFFERS)]
    faults = [name for name in (*missing, *unknown) if not name.startswith(tuple(allow_mismatch))]
    if faults:
        one_per_module = {tuple(name.split('.')[:2]): name for name in reversed(faults)}
        examples = sorted(describe_mismatch(name, expected, relevant) for name in one_per_module.values())
        raise CheckpointError(
            f'{origin} does not fit: {len(faults)} weights are missing, unknown or of another shape, such as '
            f'{"; ".join(examples[:4])}. Load the checkpoint of the previous stage, use the config that this '
            'checkpoint was trained with, or list in allow_mismatch what may differ'
        )
    fitting = {name: tensor for name, tensor in relevant.items() if name in expected and name not in missing}
    check_finite(fitting, origin)
    return LoadPlan(fitting, new_stages, dropped, tuple(sorted(missing)), tuple(sorted(unknown)))


def check_finite(weights: Mapping[str, Any], origin: str | Path) -> None:
    """Checks that all weights are finite.

    Args:
        weights: Name -> tensor.
        origin: Name of the checkpoint in messages.

    Raises:
        CheckpointError: If a weight is NaN or infinite.
    """
    faulty = [
        name
        for name, value in weights.items()
        if torch.is_tensor(value) and value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    if faulty:
        raise CheckpointError(
            f'{origin} holds NaN or infinite values in {len(faulty)} of {len(weights)} weights, such as {faulty[0]}; '
            'use an earlier checkpoint'
        )


def describe_mismatch(name: str, expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """Description of the mismatch of a tensor, for error messages."""
    if name not in weights:
        return f'{name} is missing'
    if name not in expected:
        return f'{name} is unknown'
    return f'{name} is {tuple(weights[name].shape)} and should be {tuple(expected[name].shape)}'


def option_value(model: nn.Module, name: str) -> Any:
    """Value of an option of a model.

    Args:
        model: Model with the stages.
        name: Name of the option, ``<stage>.<option>``.

    Returns:
        Value; None if the model has no such option, or no weights that depend on it.
    """
    dependent = getattr(model, TRAINED_OPTIONS.get(name, ''), None)
    if dependent is None or not any(True for _ in dependent.parameters()):
        return None
    stage, option = name.split('.')
    if option == 'legacy_inverse_match' and getattr(model.tracker, 'start', '') == 'unmatched':
        return None
    return getattr(getattr(model, stage, None), option, None)


def trained_options(model: nn.Module) -> dict[str, Any]:
    """Options of a model that its weights depend on, as stored in the ``switches`` of a checkpoint."""
    values = {name: option_value(model, name) for name in TRAINED_OPTIONS}
    return {name: value for name, value in values.items() if value is not None}


def option_conflicts(model: nn.Module, options: Mapping[str, Any]) -> list[str]:
    """A warning for every option whose value differs between a checkpoint and the model.

    Args:
        model: Model with the stages.
        options: Options that the weights were trained with.
    """
    if not isinstance(options, Mapping):
        return []
    values = {name: option_value(model, name) for name in options if name in TRAINED_OPTIONS}
    return [
        f'its weights were trained with {name}={options[name]!r} and this config has {value!r}, which gives worse '
        f'results; set model.{name}={options[name]!r}'
        for name, value in values.items()
        if value is not None and value != options[name]
    ]


def with_trained_options(model: Mapping[str, Any], checkpoint: Checkpoint) -> dict[str, Any]:
    """Adds the options that a checkpoint was trained with to a model config, unless the config sets them.

    Args:
        model: Config of a detector; not changed.
        checkpoint: Checkpoint with the options in its ``switches``.
    """
    options = checkpoint.meta.get('switches')
    result = dict(model)
    for name, value in options.items() if isinstance(options, Mapping) else ():
        *path, option = CONFIG_PATHS.get(name, tuple(name.split('.')))
        stages = (
            result.get(path[0]),
            result.get(TRAINED_OPTIONS.get(name, '')),
        )  # that has the option, and that needs it
        if all(stage and stage.get('type') not in WITHOUT_WEIGHTS for stage in stages) and has_option(
            stages[0], [*path, option][1]
        ):
            result = with_default(result, path, option, value)
    return result


def has_option(stage: Mapping[str, Any] | None, name: str) -> bool:
    """Whether the class of a stage has an option; True if the class is unknown."""
    kind = (stage or {}).get('type')
    cls = MODELS.get(kind) if isinstance(kind, str) else kind
    return cls is None or name in inspect.signature(cls).parameters


def with_default(config: Mapping[str, Any], path: Sequence[str], name: str, value: Any) -> dict[str, Any]:
    """A copy of a nested config with ``value`` at ``path`` and ``name``, unless the config has this entry.

    Args:
        config: Nested config; not changed.
        path: Keys of the nested dicts.
        name: Key of the entry.
        value: Value of the entry.
    """
    if path:
        return dict(config, **{path[0]: with_default(config.get(path[0]) or {}, path[1:], name, value)})
    return dict(config) if name in config else dict(config, **{name: value})
