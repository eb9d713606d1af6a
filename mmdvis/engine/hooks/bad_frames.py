"""Counts the bad frames that a run got over, and reports them at its end."""

from collections.abc import Sequence
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdvis.registry import HOOKS


@HOOKS.register_module()
class BadFramesHook(Hook):
    """Reports what datasets with ``on_error='skip'`` or ``'repeat'`` left out or replaced.

    Attributes:
        found: what was wrong -> how often it was met.

    Args:
        shown: sentences in the report; the number is always of all.
    """

    def __init__(self, shown: int = 20) -> None:
        self.shown = shown
        self.found: dict[str, int] = {}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Notes what the clips of the batch say."""
        for sample in data_batch['data_samples']:
            self.note(sample.get('problems', ()))

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Notes what the videos of the batch say, which have been read by now."""
        for source in data_batch['inputs']:
            self.note(getattr(source, 'problems', {}).values())

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """As in validation."""
        self.after_val_iter(runner, batch_idx, data_batch, outputs)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Notes the videos that were left out."""
        self.note_left_out(runner.val_dataloader.dataset)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Notes the videos that were left out."""
        self.note_left_out(runner.test_dataloader.dataset)

    def note_left_out(self, dataset: Any) -> None:
        """Counts each video that was left out once, however often and in however many processes the set is gone through."""
        if is_main_process():
            self.note([text for text in getattr(dataset, 'left_out', {}).values() if text not in self.found])

    def note(self, sentences: Sequence[str]) -> None:
        """Counts sentences."""
        for sentence in sentences:
            self.found[sentence] = self.found.get(sentence, 0) + 1

    def after_run(self, runner: Runner) -> None:
        """The report, once for all processes."""
        total: dict[str, int] = {}
        for found in all_gather_object(self.found):
            for sentence, number in found.items():
                total[sentence] = total.get(sentence, 0) + number
        if not total:
            return
        lines = [f'{number} x {sentence}' for sentence, number in sorted(total.items(), key=lambda item: -item[1])]
        rest = [f'and {len(lines) - self.shown} more'] if len(lines) > self.shown else []
        runner.logger.warning(
            'bad frames were met %d times, in %d places:\n%s',
            sum(total.values()),
            len(lines),
            '\n'.join([*lines[: self.shown], *rest]),
        )
        self.found = {}
