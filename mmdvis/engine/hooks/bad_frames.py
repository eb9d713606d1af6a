"""Counts the bad frames that a run skipped or replaced, and reports them at the end of the run."""

from collections.abc import Sequence
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdvis.registry import HOOKS


@HOOKS.register_module()
class BadFramesHook(Hook):
    """Reports frames and videos that datasets with ``on_error='skip'`` or ``'repeat'`` skipped or replaced.

    Args:
        shown: Maximum number of different messages in the report; the reported total includes all of them.

    Attributes:
        found: Message -> number of occurrences.
    """

    def __init__(self, shown: int = 20) -> None:
        self.shown = shown
        self.found: dict[str, int] = {}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Counts the problems of the clips of a batch."""
        for sample in data_batch['data_samples']:
            self.note(sample.get('problems', ()))

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Counts the problems of the videos of a batch, which have been read completely at this point."""
        for source in data_batch['inputs']:
            self.note(getattr(source, 'problems', {}).values())

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Counts the problems of the videos of a batch."""
        self.after_val_iter(runner, batch_idx, data_batch, outputs)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Counts the skipped videos."""
        self.note_left_out(runner.val_dataloader.dataset)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Counts the skipped videos."""
        self.note_left_out(runner.test_dataloader.dataset)

    def note_left_out(self, dataset: Any) -> None:
        """Counts each skipped video once, regardless of the number of epochs and processes."""
        if is_main_process():
            self.note([text for text in getattr(dataset, 'left_out', {}).values() if text not in self.found])

    def note(self, messages: Sequence[str]) -> None:
        """Counts messages."""
        for message in messages:
            self.found[message] = self.found.get(message, 0) + 1

    def after_run(self, runner: Runner) -> None:
        """Logs the report of all processes."""
        counts: dict[str, int] = {}
        for process_counts in all_gather_object(self.found):
            for message, count in process_counts.items():
                counts[message] = counts.get(message, 0) + count
        if not counts:
            return
        lines = [f'{count} x {message}' for message, count in sorted(counts.items(), key=lambda item: -item[1])]
        remainder = [f'and {len(lines) - self.shown} more'] if len(lines) > self.shown else []
        runner.logger.warning(
            'bad frames or videos: %d occurrences of %d different problems:\n%s',
            sum(counts.values()),
            len(lines),
            '\n'.join([*lines[: self.shown], *remainder]),
        )
        self.found = {}
