"""Training with parameters, gradients and moments spread over the processes, for backbones that one GPU cannot hold."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from mmengine._strategy import FSDPStrategy
from mmengine.device import get_device
from mmengine.optim import BaseOptimWrapper, OptimWrapper
from mmengine.runner import FlexibleRunner
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.utils import clip_grad_norm_

from mmdvis.checkpoints import meta_of, state_dict_of
from mmdvis.checkpoints.mmengine_guard import install_guards
from mmdvis.errors import CheckpointError
from mmdvis.registry import FUNCTIONS, RUNNERS, STRATEGIES

install_guards()


@FUNCTIONS.register_module()
def wrap_by_class_name(
    module: nn.Module, recurse: bool, nonwrapped_numel: int, names: Sequence[str] = ('Block',)
) -> bool:
    """FSDP's ``auto_wrap_policy``: modules whose class has one of these names are gathered and freed by themselves.

    Only modules that are called as a whole can be: what reads a parameter of another module would find its shard.
    """
    return recurse or type(module).__name__ in names


def clip_sharded_grads(parameters: Sequence[Tensor], max_norm: float, norm_type: float = 2.0) -> Tensor:
    """``clip_grad_norm_`` for shards: by the norm over all processes, where torch's takes that of this process's part.

    Args:
        parameters: this process's shards, with gradients, maybe none; every element of the model is in just one process.
        max_norm: the largest norm that stays as it is.
        norm_type: 2; no other is needed.

    Returns:
        the norm before, of the whole model.
    """
    if norm_type != 2:
        raise ValueError(f'gradients that are sharded are clipped by their 2-norm, got norm_type={norm_type}')
    total = torch.zeros((), dtype=torch.float64, device=get_device())
    for parameter in parameters:
        total += parameter.grad.detach().double().square().sum()
    dist.all_reduce(total)
    norm = total.sqrt()
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for parameter in parameters:
        parameter.grad.mul_(factor.to(parameter.grad.dtype))
    return norm


def clip_grad_sharded_model(wrapper: OptimWrapper) -> None:
    """Takes the place of mmengine's ``_clip_grad``, which passes over processes without gradients; the others would wait."""
    parameters = [
        parameter
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
        if parameter.grad is not None
    ]
    norm = clip_sharded_grads(parameters, **wrapper.clip_grad_kwargs)
    wrapper.message_hub.update_scalar(f'train/{wrapper.grad_name}', float(norm))


@STRATEGIES.register_module()
class ShardedStrategy(FSDPStrategy):
    """FSDP with whole checkpoints that any other run can read, a gradient norm of the whole model, and the CPU for tests.

    Args:
        units: names of the classes that are gathered one by one; the rest of the model is one unit.
        kwargs: of mmengine's ``FSDPStrategy``, without ``model_wrapper`` and ``state_dict_cfg``.
    """

    def __init__(self, *, units: Sequence[str] = ('Block',), **kwargs: Any) -> None:
        wrapper = dict(
            type='MMFullyShardedDataParallel',
            use_orig_params=True,
            auto_wrap_policy=partial(wrap_by_class_name, names=tuple(units)),
        )
        offload = torch.cuda.is_available()  # on the CPU it would free what it has just gathered
        if not torch.cuda.is_available():
            wrapper['device_id'] = torch.device('cpu')
        full = dict(
            state_dict_type='FULL_STATE_DICT',
            state_dict_config=dict(type='FullStateDictConfig', offload_to_cpu=offload),
            optim_state_dict_config=dict(type='FullOptimStateDictConfig', offload_to_cpu=offload),
        )
        super().__init__(model_wrapper=wrapper, state_dict_cfg=full, **kwargs)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """As in mmengine; keeps names and shapes of the weights, which no process has whole any more once they are sharded."""
        model = super().build_model(model)
        self.blank_weights = {name: value.to('meta') for name, value in model.state_dict().items()}
        return model

    def build_optim_wrapper(
        self, optim_wrapper: BaseOptimWrapper | dict, model: nn.Module | None = None
    ) -> BaseOptimWrapper:
        """As in mmengine, but gradients are clipped by the norm of the whole model."""
        wrapper = super().build_optim_wrapper(optim_wrapper, model)
        if getattr(wrapper, 'clip_func', None) is clip_grad_norm_:
            wrapper._clip_grad = partial(clip_grad_sharded_model, wrapper)
        return wrapper

    def load_checkpoint(self, filename: str, *, callback: Callable | None = None, **kwargs: Any) -> dict[str, Any]:
        """As in mmengine, without the text of the config, which it would evaluate on resuming."""

        def checked(checkpoint: dict[str, Any]) -> None:
            checkpoint['meta'] = {name: value for name, value in meta_of(checkpoint).items() if name != 'config'}
            checkpoint.update(state_dict=state_dict_of(checkpoint), filename=str(filename))
            if callback is not None:
                callback(checkpoint)

        return super().load_checkpoint(filename, callback=checked, **kwargs)

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in mmengine, whose call has the order of arguments of an older torch."""
        optimizer = self.optim_wrapper.optimizer
        self.optim_wrapper.load_state_dict(
            FullyShardedDataParallel.optim_state_dict_to_load(self.model, optimizer, state_dict)
        )


@RUNNERS.register_module()
class ShardedRunner(FlexibleRunner):
    """mmengine's runner with a strategy, :class:`ShardedStrategy` unless told otherwise; it does not validate.

    In validation every process has videos of its own, and those with shorter ones would not answer when the others gather
    weights; ``tools/test.py`` scores checkpoints with whole models.

    Attributes:
        trust: must stay False; see :class:`VideoRunner`.
    """

    def __init__(self, *args: Any, strategy: dict | None = None, **kwargs: Any) -> None:
        if not dist.is_initialized() and kwargs.get('launcher', 'none') == 'none':
            raise CheckpointError(
                'a model is sharded over several processes; start them with tools/dist_train.sh, or take '
                'the config without _fsdp'
            )
        for name in ('val_dataloader', 'val_cfg', 'val_evaluator'):
            kwargs[name] = None
        super().__init__(*args, strategy=strategy or dict(type='mmdvis.ShardedStrategy'), **kwargs)
