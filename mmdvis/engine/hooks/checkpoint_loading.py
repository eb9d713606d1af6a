"""Checks that a stage starts from the stage before it."""

import logging
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from mmdvis.checkpoints import Checkpoint, checked_weights, trained_options
from mmdvis.errors import CheckpointError
from mmdvis.registry import HOOKS
from mmdvis.structures import STAGES


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model inside a wrapper for several processes."""
    return model.module if is_model_wrapper(model) else model


def expected_weights(runner: Runner) -> dict[str, Tensor]:
    """Tensors with the names and shapes of the model's weights; of a sharded model they hold no values."""
    sharded = getattr(getattr(runner, 'strategy', None), 'blank_weights', None)
    return unwrap_model(runner.model).state_dict() if sharded is None else sharded


@HOOKS.register_module()
class CheckpointLoadingHook(Hook):
    """Stops the run where the weights of a frozen stage would be random, and keeps what no shape of a weight shows.

    A checkpoint must have every stage in ``required``. What it has of a stage must be the whole stage, in the right shapes;
    stages that the model does not have are dropped with a note. A checkpoint that says with which options its weights were
    trained, and a config that contradicts it, give a warning.

    Args:
        required: stages that the checkpoint must have; None: those that do not learn, and all where a run is resumed.
        allow_mismatch: beginnings of names that may be missing, unknown or of another shape.
    """

    priority = 'VERY_HIGH'

    def __init__(self, required: Sequence[str] | None = None, allow_mismatch: Sequence[str] = ()) -> None:
        if isinstance(required, str) or isinstance(allow_mismatch, str):
            raise ValueError(
                f'required and allow_mismatch are lists of names, got {required!r} and {allow_mismatch!r}; '
                'put a single name in brackets'
            )
        unknown = [name for name in required or () if name not in STAGES]
        if unknown:
            raise ValueError(f'required names stages ({", ".join(STAGES)}), got {unknown[0]!r}')
        self.required, self.allow_mismatch = required, tuple(allow_mismatch)

    def stages(self, model: nn.Module, resume: bool = False) -> list[str]:
        """The stages that must be there for ``model``."""
        if self.required is not None and not resume:
            return list(self.required)
        trainable = getattr(model, 'trainable', ())
        return [name for name in model.parts() if resume or name not in trainable]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Leaves in the checkpoint what the model loads; raises CheckpointError if required stages are not complete."""
        model, origin = unwrap_model(runner.model), checkpoint.get('filename', 'the checkpoint')
        resume = bool(getattr(runner, '_resume', False))
        weights, sentences = checked_weights(
            model,
            Checkpoint.from_content(checkpoint, origin),
            self.stages(model, resume),
            () if resume else self.allow_mismatch,
            expected_weights(runner),
        )
        for sentence in sentences:
            print_log(f'{origin}: {sentence}', 'current', logging.WARNING)
        checkpoint['state_dict'] = weights

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Stores the options that the weights depend on."""
        checkpoint['meta']['switches'] = trained_options(unwrap_model(runner.model))

    def before_train(self, runner: Runner) -> None:
        """Raises CheckpointError if nothing was loaded although a stage is frozen."""
        needed = self.stages(unwrap_model(runner.model))
        if needed and not runner._has_loaded:
            raise CheckpointError(
                f'{", ".join(needed)} must come from the stage before and nothing was loaded; '
                'set load_from to its checkpoint, as with --cfg-options load_from=FILE'
            )
