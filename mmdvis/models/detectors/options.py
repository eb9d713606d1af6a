"""Options and stream state of :class:`DVIS`, and checks of its arguments."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmdvis.checks import check_choice
from mmdvis.io import STORES
from mmdvis.models.functional.precision import PRECISIONS
from mmdvis.registry import MODELS
from mmdvis.results import ClassInfo
from mmdvis.structures import STAGES, StepContext

from .chain import ChainState


@dataclass(frozen=True, eq=False)
class StreamState:
    """State of a video stream after the frames that have been processed.

    Attributes:
        chain: State of segmenter and tracker.
        logit_sum: Sum over all frames of the class logits of the last stage, (Q, K + 1).
        tracked_sum: Sum over all frames of the class logits of the tracker, (Q, K + 1).
        num_frames: Number of processed frames.
    """

    chain: ChainState
    logit_sum: Tensor
    tracked_sum: Tensor
    num_frames: int


@dataclass(frozen=True)
class InferenceOptions:
    """Inference options of a model; they do not change its parameters.

    Attributes:
        window: See :class:`DVIS`.
        clip_len: See :class:`DVIS`.
        causal: See :class:`DVIS`.
        precision: Compute precision at test time: ``'fp32'``, ``'bf16'`` or ``'fp16'``. Matching, scores, sampling
            locations and norms always use float32.
        store: Storage of the mask features of a whole video until its masks are computed, see :func:`feature_store`.

    Raises:
        ValueError: If a value is not allowed.
    """

    window: int | None = None
    clip_len: int | None = None
    causal: bool = False
    precision: str = 'fp32'
    store: str = 'exact'

    def __post_init__(self) -> None:
        for name, length, default in (
            ('window', self.window, 'a default that depends on the device'),
            ('clip_len', self.clip_len, 'the whole video'),
        ):
            if length is not None and length < 1:
                raise ValueError(f'{name} must be at least one frame, got {length}; {name}=None means {default}')
        check_choice('precision', self.precision, PRECISIONS)
        check_choice('store', self.store, STORES)

    def updated(self, options: Mapping[str, Any]) -> 'InferenceOptions':
        """A copy of the options with other values.

        Args:
            options: Names and values of the options to change.

        Raises:
            ValueError: If a name is unknown or a value is not allowed.
        """
        names = [field.name for field in fields(self)]
        for name in options:
            check_choice('an inference option', name, names)
        return replace(self, **options)


def iteration_context() -> StepContext:
    """Progress, seed and rank of this iteration, from the message hub of mmengine's runner."""
    hub = MessageHub.get_current_instance()
    iteration, total, seed = (hub.get_info(name) for name in ('iter', 'max_iters', 'seed'))
    if iteration is None or not total:
        return StepContext(rank=get_rank())
    return StepContext(iteration / total, seed or 0, get_rank(), iteration)


def has_parameters(stage: nn.Module | None) -> bool:
    """Whether a stage is not None and has parameters."""
    return stage is not None and any(True for _ in stage.parameters())


def with_num_classes(stage: dict, num_classes: int) -> dict:
    """Adds the number of classes to the config of a stage if the stage accepts it.

    Args:
        stage: Config of the stage; not changed.
        num_classes: Number of classes K of the model.

    Raises:
        ValueError: If the config has another number of classes.
    """
    if stage.get('num_classes', num_classes) != num_classes:
        raise ValueError(
            f'{stage["type"]} has num_classes={stage["num_classes"]} and the model has num_classes={num_classes}; '
            'remove it from the stage'
        )
    accepts_num_classes = 'num_classes' in inspect.signature(MODELS.get(stage['type'])).parameters
    return dict(stage, num_classes=num_classes) if accepts_num_classes else stage


def class_info(num_classes: int, num_things: int | None, dataset_meta: Mapping[str, Any] | None) -> ClassInfo:
    """Class information of a model.

    Args:
        num_classes: Number of classes K of the model.
        num_things: Number of thing classes of the postprocessor; None if it has no such argument.
        dataset_meta: Names, palette and category ids of the classes; without ``classes``, the classes are numbered.

    Raises:
        ValueError: If the number of classes or thing classes differs between the model and ``dataset_meta``.
    """
    if not dataset_meta or 'classes' not in dataset_meta:
        return ClassInfo.numbered(num_classes, num_things)
    classes = ClassInfo.from_meta(dataset_meta)
    if len(classes) != num_classes:
        raise ValueError(f'the model has num_classes={num_classes} and its dataset_meta has {len(classes)} classes')
    if num_things is not None and 'num_things' in dataset_meta and num_things != sum(classes.is_thing):
        raise ValueError(
            f'the postprocessor has num_things={num_things} and the dataset_meta has {sum(classes.is_thing)} thing '
            f'classes; set postprocessor.num_things={sum(classes.is_thing)}'
        )
    return classes


def resolve_trainable(model: nn.Module, trainable: str | Sequence[str]) -> tuple[str, ...]:
    """Names of the stages that are trained, in the order of the chain.

    Args:
        model: Model with the stages.
        trainable: ``'last'``, or the name or names of the stages that are trained. ``'last'`` is none for a
            model without parameters, whose stages are exported graphs.

    Raises:
        ValueError: If a name is not a stage with parameters, or there are no names.
    """
    candidates = [name for name in STAGES if has_parameters(getattr(model, name))]
    if trainable == 'last':
        return tuple(candidates[-1:])
    names = (trainable,) if isinstance(trainable, str) else tuple(trainable)
    unknown = [name for name in names if name not in candidates]
    if unknown or not names:
        raise ValueError(
            f"trainable must be 'last' or names of stages with parameters ({', '.join(candidates)}), got {trainable!r}"
        )
    return tuple(name for name in STAGES if name in names)
