"""Training loop that stops, or skips the batch, before a non-finite loss or gradient reaches the weights."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop
from torch.optim import Optimizer

from mmdvis.checks import check_choice
from mmdvis.errors import NonFiniteError
from mmdvis.registry import LOOPS


@LOOPS.register_module()
class VideoTrainLoop(IterBasedTrainLoop):
    """Iteration-based training loop that checks losses and gradients before every update.

    The losses are checked by the ``parse_losses`` of the models of mmdvis, the gradients before each step of the
    optimizer. All processes decide alike. With fp16, mmengine's loss scaling skips updates with infinite gradients, so
    that they do not get here.

    Args:
        args: See mmengine.
        on_nonfinite: ``'stop'``: raise an error that names iteration, losses and videos. ``'skip'``: log it, leave out
            the batch and go on.
        max_skipped: Largest number of skipped batches of a run.
        kwargs: See mmengine.

    Attributes:
        num_skipped: Number of batches that were skipped.

    Raises:
        OptionError: If ``on_nonfinite`` is neither of the two.
        NonFiniteError: Raised by :meth:`run` for a non-finite loss or gradient.
    """

    def __init__(self, *args: Any, on_nonfinite: str = 'stop', max_skipped: int = 100, **kwargs: Any) -> None:
        check_choice('on_nonfinite', on_nonfinite, ('stop', 'skip'))
        super().__init__(*args, **kwargs)
        self.on_nonfinite, self.max_skipped, self.num_skipped = on_nonfinite, max_skipped, 0

    def run(self) -> torch.nn.Module:
        """Trains the model; see mmengine."""
        check = self.runner.optim_wrapper.optimizer.register_step_pre_hook(check_gradients)
        try:
            return super().run()
        finally:
            check.remove()

    def run_iter(self, data_batch: Mapping[str, Any]) -> None:
        """Runs one iteration.

        Args:
            data_batch: Batch of the data loader.

        Raises:
            NonFiniteError: If a loss or gradient is not finite and ``on_nonfinite`` is ``'stop'``, or too many batches
                were skipped.
        """
        try:
            super().run_iter(data_batch)
        except NonFiniteError as error:
            place = f'iteration {self._iter + 1}, {described_videos(data_batch)}: {error}'
            if self.on_nonfinite == 'stop':
                raise NonFiniteError(
                    f'{place}. The weights were not changed. Lower the learning rate, check the videos, or leave out '
                    'such batches with --on-nonfinite skip'
                ) from None
            self.num_skipped += 1
            if self.num_skipped > self.max_skipped:
                raise NonFiniteError(
                    f'{place}. {self.max_skipped} batches were skipped before it, which is the limit; lower the '
                    'learning rate or raise train_cfg.max_skipped'
                ) from None
            print_log(f'{place}; the batch was skipped, number {self.num_skipped}', 'current', logging.WARNING)
            self.runner.optim_wrapper.zero_grad()
            self.runner.call_hook('after_train_iter', batch_idx=self._iter, data_batch=data_batch, outputs={})
            self._iter += 1


def check_gradients(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
    """Checks the gradients before a step of the optimizer.

    All processes decide alike, also if each holds a part of the gradients.

    Args:
        optimizer: The optimizer.
        args: Arguments of its step; unused.
        kwargs: Arguments of its step; unused.

    Raises:
        NonFiniteError: If a gradient is NaN or infinite.
    """
    gradients = [value.grad for group in optimizer.param_groups for value in group['params'] if value.grad is not None]
    norms = [torch.linalg.vector_norm(gradient.detach()) for gradient in gradients]
    broken = (~torch.isfinite(torch.stack(norms))).any().float() if norms else torch.zeros((), device=get_device())
    all_reduce(broken)
    if bool(broken > 0):
        faulty = sum(not bool(torch.isfinite(gradient).all()) for gradient in gradients)
        raise NonFiniteError(f'the gradients of {faulty} of {len(gradients)} parameters are not finite')


def described_videos(data_batch: Mapping[str, Any]) -> str:
    """Names of the videos of a batch, for messages."""
    samples = data_batch.get('data_samples') or ()
    names = [str(sample.metainfo.get('video_id', 'unknown')) for sample in samples if hasattr(sample, 'metainfo')]
    return f'videos {", ".join(names)}' if names else 'unknown videos'
