"""Options and state of :class:`DVIS`, and the checks of its arguments."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor, nn

from mmdvis.checks import check_choice
from mmdvis.io import STORES
from mmdvis.models.functional.precision import PRECISIONS
from mmdvis.registry import MODELS
from mmdvis.structures import STAGES, ClassInfo


@dataclass(frozen=True, eq=False)
class StreamState:
    """What a stream of frames leaves behind.

    Attributes:
        tracker: the tracker's own state.
        logit_sum (Q, K + 1): sum over all frames of the last stage's class logits.
        tracked_sum (Q, K + 1): the same of the tracker.
        num_frames: frames seen.
    """

    tracker: object
    logit_sum: Tensor
    tracked_sum: Tensor
    num_frames: int


@dataclass(frozen=True)
class InferenceOptions:
    """Options of a model that do not change its parameters.

    Attributes:
        window, clip_len, causal: see :class:`DVIS`.
        precision: precision of matrix products at test time: ``'fp32'``, ``'bf16'`` or ``'fp16'``. Matching, scores,
            sampling locations and norms are float32 in each.
        store: where the mask features of a whole video are kept until its masks are made, see :func:`feature_store`.
    """

    window: int | None = None
    clip_len: int | None = None
    causal: bool = False
    precision: str = 'fp32'
    store: str = 'exact'

    def __post_init__(self) -> None:
        for name, length, default in (
            ('window', self.window, 'what suits the device'),
            ('clip_len', self.clip_len, 'the whole video'),
        ):
            if length is not None and length < 1:
                raise ValueError(f'{name} must be at least one frame, got {length}; {name}=None means {default}')
        check_choice('precision', self.precision, PRECISIONS)
        check_choice('store', self.store, STORES)

    def updated(self, options: Mapping[str, Any]) -> 'InferenceOptions':
        """The options with other values; raises ValueError for unknown names."""
        names = [field.name for field in fields(self)]
        for name in options:
            check_choice('an inference option', name, names)
        return replace(self, **options)


def has_parameters(stage: nn.Module | None) -> bool:
    """Whether a stage is there and has parameters."""
    return stage is not None and any(True for _ in stage.parameters())


def with_num_classes(stage: dict, num_classes: int) -> dict:
    """The config of a stage with the number of classes, if the stage takes one.

    Raises:
        ValueError: the config states another number.
    """
    if stage.get('num_classes', num_classes) != num_classes:
        raise ValueError(
            f'{stage["type"]} has num_classes={stage["num_classes"]} and the model has num_classes={num_classes}; '
            'remove it from the stage'
        )
    takes_it = 'num_classes' in inspect.signature(MODELS.get(stage['type'])).parameters
    return dict(stage, num_classes=num_classes) if takes_it else stage


def class_info(num_classes: int, num_things: int | None, dataset_meta: Mapping[str, Any] | None) -> ClassInfo:
    """The classes of a model.

    Raises:
        ValueError: the number of classes or of things differs between the model and ``dataset_meta``.
    """
    if not dataset_meta or 'classes' not in dataset_meta:
        return ClassInfo.numbered(num_classes, num_things)
    classes = ClassInfo.from_meta(dataset_meta)
    if len(classes) != num_classes:
        raise ValueError(f'the model has num_classes={num_classes} and its dataset_meta names {len(classes)} classes')
    if num_things is not None and 'num_things' in dataset_meta and num_things != sum(classes.is_thing):
        raise ValueError(
            f'the postprocessor has num_things={num_things} and the dataset_meta has {sum(classes.is_thing)} things; '
            f'set postprocessor.num_things={sum(classes.is_thing)}'
        )
    return classes


def resolve_trainable(model: nn.Module, trainable: str | Sequence[str]) -> tuple[str, ...]:
    """The names of the stages that are trained, in the order of the chain.

    Raises:
        ValueError: a name is no stage, or its stage has no parameters.
    """
    candidates = [name for name in STAGES if has_parameters(getattr(model, name))]
    if trainable == 'last':
        return (candidates[-1],)
    names = (trainable,) if isinstance(trainable, str) else tuple(trainable)
    unknown = [name for name in names if name not in candidates]
    if unknown or not names:
        raise ValueError(
            f"trainable must be 'last' or name stages with parameters ({', '.join(candidates)}), got {trainable!r}"
        )
    return tuple(name for name in STAGES if name in names)
