"""Checks that model and dataset agree on the classes."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmdvis.registry import HOOKS


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Raises ValueError before training where a stage has another number of classes than the dataset."""

    def before_train(self, runner: Runner) -> None:
        """Compares every stage with the training set."""
        classes = runner.train_dataloader.dataset.metainfo.get('classes')
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for name, module in model.named_modules():
            if classes is not None and name.endswith('cls_embed') and module.out_features != len(classes) + 1:
                raise ValueError(
                    f'{name} tells {module.out_features - 1} classes apart, the dataset has {len(classes)}; '
                    f'set num_classes={len(classes)} in the config of that stage'
                )
