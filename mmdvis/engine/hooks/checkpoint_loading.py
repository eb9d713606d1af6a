"""Hook that checks that a stage is trained on the weights of the previous stage."""

import logging
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import nn

from mmdvis.checkpoints import Checkpoint, checked_weights, trained_options
from mmdvis.engine.unwrap_model import unwrap_model
from mmdvis.errors import CheckpointError
from mmdvis.registry import HOOKS
from mmdvis.structures import STAGES


@HOOKS.register_module()
class CheckpointLoadingHook(Hook):
    """Stops the run if a frozen stage would keep randomly initialised weights, and saves the trained options.

    A checkpoint must contain every stage of ``required``. Each stage that it contains must be complete, with the right
    shapes. Stages that the model does not have are dropped with a warning. A warning is also logged if the options that
    the weights were trained with differ from the config.

    Args:
        required: Stages that the checkpoint must contain; None requires the frozen stages, or all stages if a run is
            resumed.
        allow_mismatch: Prefixes of tensor names that may be missing, unknown or of another shape.

    Raises:
        ValueError: If an argument is a single string, or ``required`` contains an unknown stage.
    """

    priority = 'VERY_HIGH'

    def __init__(self, required: Sequence[str] | None = None, allow_mismatch: Sequence[str] = ()) -> None:
        if isinstance(required, str) or isinstance(allow_mismatch, str):
            raise ValueError(
                f'required and allow_mismatch must be lists of names, got {required!r} and {allow_mismatch!r}; '
                'put a single name into a list'
            )
        unknown = [name for name in required or () if name not in STAGES]
        if unknown:
            raise ValueError(f'required must contain names of stages ({", ".join(STAGES)}), got {unknown[0]!r}')
        self.required, self.allow_mismatch = required, tuple(allow_mismatch)

    def stages(self, model: nn.Module, resume: bool = False) -> list[str]:
        """Names of the stages that a checkpoint must contain.

        Args:
            model: Model without wrapper.
            resume: Whether a run is resumed, which requires all stages.
        """
        if self.required is not None and not resume:
            return list(self.required)
        trainable = getattr(model, 'trainable', ())
        return [name for name in model.parts() if resume or name not in trainable]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Checks the weights and replaces them in the checkpoint by those that the model loads.

        Raises:
            CheckpointError: If a required stage is missing or incomplete, or a tensor has another shape.
        """
        model, origin = unwrap_model(runner.model), checkpoint.get('filename', 'the checkpoint')
        resume = bool(getattr(runner, '_resume', False))
        weights, messages = checked_weights(
            model,
            Checkpoint.from_content(checkpoint, origin),
            self.stages(model, resume),
            () if resume else self.allow_mismatch,
            getattr(getattr(runner, 'strategy', None), 'blank_weights', None),  # names and shapes before sharding
        )
        for message in messages:
            print_log(f'{origin}: {message}', 'current', logging.WARNING)
        checkpoint['state_dict'] = weights

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Adds the options that the weights depend on to the meta information of the checkpoint."""
        checkpoint['meta']['switches'] = trained_options(unwrap_model(runner.model))

    def before_train(self, runner: Runner) -> None:
        """Checks that a checkpoint was loaded.

        Raises:
            CheckpointError: If no checkpoint was loaded although stages are required.
        """
        needed = self.stages(unwrap_model(runner.model))
        if needed and not runner._has_loaded:
            raise CheckpointError(
                f'no checkpoint was loaded, but the weights of {", ".join(needed)} must come from the previous stage; '
                'set load_from to its checkpoint, e.g. with --cfg-options load_from=FILE'
            )
