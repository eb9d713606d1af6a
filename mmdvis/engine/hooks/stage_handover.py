"""Checks that a stage starts from the stage before it."""
from typing import List, Optional, Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmdvis.registry import HOOKS
from mmdvis.structures import missing_weights, state_dict_of


def uncovered(wanted: dict, found: dict, prefixes: Sequence[str], allow_mismatch: Sequence[str]) -> List[str]:
    """Names that begin with one of ``prefixes`` and are missing, or of another shape, in ``found``.

    Args:
        wanted, found: state dicts of the model and of the checkpoint.
        prefixes: what must be covered.
        allow_mismatch: beginnings of names that may differ.
    """
    names = [name for name in missing_weights(wanted, found) if name.startswith(tuple(f'{p}.' for p in prefixes))]
    return [name for name in names if not name.startswith(tuple(allow_mismatch))]


@HOOKS.register_module()
class StageHandoverHook(Hook):
    """Stops the run where the weights of a frozen stage would be random.

    Args:
        required: prefixes that the checkpoint must cover; None: the stages that do not learn.
        allow_mismatch: beginnings of names that may be missing or of another shape.
    """

    priority = 'VERY_HIGH'

    def __init__(self, required: Optional[Sequence[str]] = None, allow_mismatch: Sequence[str] = ()) -> None:
        self.required, self.allow_mismatch = required, tuple(allow_mismatch)

    def prefixes(self, model: nn.Module) -> List[str]:
        """The prefixes that must be covered for ``model``."""
        if self.required is not None:
            return list(self.required)
        return [name for name, stage in model.frozen_stages() if any(True for _ in stage.parameters())]

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Raises ValueError if the checkpoint does not cover what it must."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        missing = uncovered(model.state_dict(), state_dict_of(checkpoint), self.prefixes(model), self.allow_mismatch)
        if missing:
            prefixes = sorted({'.'.join(name.split('.')[:2]) for name in missing})
            raise ValueError(
                f'the checkpoint lacks {len(missing)} tensors that this stage needs, or has them in another shape, under '
                f'{", ".join(prefixes)}; load the checkpoint of the stage before, or name in allow_mismatch what may differ')

    def before_train(self, runner: Runner) -> None:
        """Raises ValueError if nothing was loaded although a stage is frozen."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        needed = self.prefixes(model)
        if needed and not runner._has_loaded:
            raise ValueError(f'{", ".join(needed)} must come from the stage before and nothing was loaded; '
                             'set load_from to its checkpoint, as with --cfg-options load_from=FILE')
