"""Hook that checks that the model and the dataset have the same classes."""

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdvis.engine.unwrap_model import unwrap_model
from mmdvis.registry import HOOKS


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Raises a ValueError if the numbers of classes or thing classes of model and dataset differ."""

    def before_train(self, runner: Runner) -> None:
        """Compares the model with the training set."""
        check_classes(runner, runner.train_dataloader.dataset.metainfo)

    def before_test(self, runner: Runner) -> None:
        """Compares the model with the test set."""
        check_classes(runner, runner.test_dataloader.dataset.metainfo)

    def before_val(self, runner: Runner) -> None:
        """Compares the model with the validation set."""
        check_classes(runner, runner.val_dataloader.dataset.metainfo)


def check_classes(runner: Runner, metainfo: Mapping[str, Any]) -> None:
    """Compares the number of classes and thing classes of a model with a dataset.

    Args:
        runner: Runner with the model. Every member of a :class:`VideoFusion` is compared.
        metainfo: Meta information of the dataset. Without ``classes``, nothing is compared.

    Raises:
        ValueError: If the numbers differ.
    """
    model = unwrap_model(runner.model)
    names = metainfo.get('classes')
    if not names:
        return
    if model.num_classes != len(names):
        raise ValueError(
            f'the model has num_classes={model.num_classes} and the dataset has {len(names)} classes; '
            f'set model.num_classes={len(names)}'
        )
    for part in model.modules():
        num_things = getattr(part, 'num_things', None)
        if num_things is not None and num_things != metainfo.get('num_things', num_things):
            raise ValueError(
                f'the postprocessor has num_things={num_things}, but the dataset has {metainfo["num_things"]} things; '
                f'set model.postprocessor.num_things={metainfo["num_things"]}'
            )
