"""What a model takes over from a checkpoint, and which options its weights were trained with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmdvis.errors import CheckpointError
from mmdvis.structures.video_segmenter import STAGES

RECOMPUTED_BUFFERS = ('num_batches_tracked', 'relative_position_index')  # buffers that other frameworks do not save
TRAINED_OPTIONS = {  # option that no shape shows -> the stage whose weights depend on it
    'segmenter.normed_embeds': 'tracker',
    'tracker.legacy_inverse_match': 'tracker',
    'tracker.start': 'tracker',
    'tracker.cross_attention': 'tracker',
    'tracker.context': 'refiner',
    'tracker.normed_outputs': 'refiner',
}


@dataclass(frozen=True)
class LoadPlan:
    """What becomes of a checkpoint in a model.

    Attributes:
        weights: what is loaded.
        fresh: stages of the model that the checkpoint does not have, which begin anew.
        dropped: stages of the checkpoint that the model does not have.
        renewed: weights of the model that begin anew, because they were allowed to be missing or of another shape.
        ignored: unknown names of the checkpoint that were allowed.
    """

    weights: dict[str, Tensor]
    fresh: tuple[str, ...]
    dropped: tuple[str, ...]
    renewed: tuple[str, ...]
    ignored: tuple[str, ...]

    def notes(self) -> list[str]:
        """A sentence for everything that was not simply loaded."""
        said = (
            ('the weights of the later stage {} were dropped', self.dropped),
            ('{} is not in it and begins anew', self.fresh),
            ('{} begins anew, as allow_mismatch permits', self.renewed),
            ('{} has no place in the model and was left out, as allow_mismatch permits', self.ignored),
        )
        return [sentence.format(name) for sentence, names in said for name in names]


def missing_weights(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """Names of ``wanted`` that ``found`` lacks or has in another shape; buffers that are recomputed do not count."""
    return [
        name
        for name, tensor in wanted.items()
        if not name.endswith(RECOMPUTED_BUFFERS) and (name not in found or found[name].shape != tensor.shape)
    ]


def stage_of(name: str) -> str:
    """The first part of a weight's name."""
    return name.split('.')[0]


def plan_loading(
    wanted: dict[str, Tensor],
    found: dict[str, Tensor],
    required: Sequence[str] | None = None,
    allow_mismatch: Sequence[str] = (),
    origin: str = 'the checkpoint',
) -> LoadPlan:
    """Picks what a model loads from a checkpoint.

    A stage is there with all its weights or, where it is not ``required``, not at all.

    Args:
        wanted, found: state dicts of the model and of the checkpoint.
        required: stages that must be there; None: all of the model.
        allow_mismatch: beginnings of names that may be missing, unknown or of another shape.
        origin: the checkpoint's name, for messages.

    Raises:
        CheckpointError: a weight is missing, unknown or of another shape.
    """
    for option, names in (('required', required or ()), ('allow_mismatch', allow_mismatch)):
        if isinstance(names, str) or not all(names):
            raise ValueError(f'{option} must be a list of names, none of them empty, got {names!r}')
    stages, given = sorted({stage_of(name) for name in wanted}), {stage_of(name) for name in found}
    needed = stages if required is None else required
    fresh = tuple(stage for stage in stages if stage not in given and stage not in needed)
    dropped = tuple(stage for stage in STAGES if stage in given and stage not in stages)
    there = {name: tensor for name, tensor in found.items() if stage_of(name) not in dropped}
    missing = [name for name in missing_weights(wanted, there) if stage_of(name) not in fresh]
    unknown = [name for name in there if name not in wanted and not name.endswith(RECOMPUTED_BUFFERS)]
    allowed = tuple(allow_mismatch)
    faults = [name for name in (*missing, *unknown) if not name.startswith(allowed)]
    if faults:
        one_a_module = {tuple(name.split('.')[:2]): name for name in reversed(faults)}
        examples = sorted(describe_mismatch(name, wanted, there) for name in one_a_module.values())
        raise CheckpointError(
            f'{origin} does not fit: {len(faults)} weights are missing, unknown or of another shape, such as '
            f'{"; ".join(examples[:4])}. Load the checkpoint of the stage before, or the config '
            'that this one was trained with, or name in allow_mismatch what may differ'
        )
    fits = {name: tensor for name, tensor in there.items() if name in wanted and name not in missing}
    return LoadPlan(fits, fresh, dropped, tuple(sorted(missing)), tuple(sorted(unknown)))


def describe_mismatch(name: str, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    """What is wrong with a weight."""
    if name not in found:
        return f'{name} is missing'
    if name not in wanted:
        return f'{name} is unknown'
    return f'{name} is {tuple(found[name].shape)} and should be {tuple(wanted[name].shape)}'


def option_value(model: nn.Module, name: str) -> Any:
    """The value of ``stage.option``; None where the model has no such stage or option, or no weights that depend on it."""
    dependent = getattr(model, TRAINED_OPTIONS.get(name, ''), None)
    if dependent is None or not any(True for _ in dependent.parameters()):
        return None
    stage, option = name.split('.')
    if option == 'legacy_inverse_match' and getattr(model.tracker, 'start', '') == 'unmatched':
        return None
    return getattr(getattr(model, stage, None), option, None)


def trained_options(model: nn.Module) -> dict[str, Any]:
    """The options of a model that its weights depend on, as a checkpoint keeps them."""
    found = {name: option_value(model, name) for name in TRAINED_OPTIONS}
    return {name: value for name, value in found.items() if value is not None}


def option_conflicts(model: nn.Module, needs: dict[str, Any]) -> list[str]:
    """A sentence for every option of ``needs`` that the model has with another value."""
    needs = {name: value for name, value in needs.items() if name in TRAINED_OPTIONS} if isinstance(needs, dict) else {}
    found = {name: option_value(model, name) for name in needs}
    return [
        f'its weights were trained with {name}={needs[name]!r} and this config says {value!r}, which gives worse results; '
        f'set model.{name}={needs[name]!r}'
        for name, value in found.items()
        if value is not None and value != needs[name]
    ]
