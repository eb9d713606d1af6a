"""Learning rates of EoMT: warm-up and polynomial decay, later for the pre-trained part."""

from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from mmdvis.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class TwoStagePolyLR(LRSchedulerMixin, _ParamScheduler):
    """Linear warm-up from 0, then ``(1 - share of the remaining steps) ** power``.

    Parameter groups that are marked as late (``late`` of :class:`GroupedConstructor`) have the rate 0 in the warm-up of
    the others, and then a warm-up of their own.

    Args:
        optimizer: Optimizer, or its wrapper.
        warm_up: Steps of the warm-up of the other groups, and of the late ones.
        power: Exponent of the decay.
        args: See mmengine.
        kwargs: See mmengine; ``end`` is the number of steps of the training.
    """

    def __init__(
        self, optimizer: Any, *args: Any, warm_up: tuple[int, int] = (500, 1000), power: float = 0.9, **kwargs: Any
    ) -> None:
        self.warm_up, self.power = tuple(warm_up), power
        super().__init__(optimizer, *args, **kwargs)

    def factor(self, step: int, is_late: bool) -> float:
        """Factor of the learning rate at a step."""
        start = self.warm_up[0] if is_late else 0
        length = self.warm_up[1] if is_late else self.warm_up[0]
        if step < start + length:
            return max(step - start, 0) / length
        rest = self.end - self.begin - start - length
        return max(1 - (step - start - length) / max(rest, 1), 0.0) ** self.power

    def _get_value(self) -> list[float]:
        """Learning rate of each group at the current step; called by mmengine."""
        groups = self.optimizer.param_groups
        return [group['initial_lr'] * self.factor(self.last_step, group.get('is_late', False)) for group in groups]
