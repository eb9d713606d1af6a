"""Training with fully sharded data parallelism (FSDP), for backbones that do not fit on one GPU.

Parameters, gradients and optimizer states are sharded over the processes.
"""

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

from mmdvis.checkpoints.mmengine_guard import install_guards
from mmdvis.engine.hooks.safe_checkpoint import WholeCheckpoints
from mmdvis.engine.runner import converted
from mmdvis.errors import CheckpointError
from mmdvis.registry import FUNCTIONS, RUNNERS, STRATEGIES

install_guards()


@FUNCTIONS.register_module()
def wrap_by_class_name(
    module: nn.Module, recurse: bool, nonwrapped_numel: int, names: Sequence[str] = ('Block',)
) -> bool:
    """FSDP ``auto_wrap_policy`` that wraps modules by the name of their class.

    Only modules that are always called as a whole may be wrapped, because code that reads a parameter of a wrapped
    module from outside sees only its shard.

    Args:
        module: Module to be wrapped.
        recurse: Whether FSDP asks if it should visit the children of the module; always answered with True.
        nonwrapped_numel: Number of parameters that are not wrapped yet; unused.
        names: Names of the classes to wrap.
    """
    return recurse or type(module).__name__ in names


def clip_sharded_grads(parameters: Sequence[Tensor], max_norm: float, norm_type: float = 2.0) -> Tensor:
    """Clips sharded gradients by their norm over all processes; ``clip_grad_norm_`` of torch uses the local norm.

    Args:
        parameters: Parameter shards of this process that have gradients; may be empty. Every element of the model must
            belong to exactly one process.
        max_norm: Maximum norm of the gradients.
        norm_type: Type of the norm; must be 2.

    Returns:
        Gradient norm of the whole model before clipping.

    Raises:
        ValueError: If ``norm_type`` is not 2.
    """
    if norm_type != 2:
        raise ValueError(f'norm_type must be 2 for sharded gradients, got {norm_type}')
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
    """Replacement of mmengine's ``_clip_grad``.

    The original skips clipping in processes without gradients, so the all-reduce in the other processes would block.
    """
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
    """FSDP strategy with unsharded checkpoints and gradient clipping by the norm of the whole model.

    The checkpoints can be loaded by runs without FSDP. The CPU is supported for tests.

    Args:
        units: Names of the classes whose modules are gathered one by one; the rest of the model is one FSDP unit.
        kwargs: Arguments of mmengine's ``FSDPStrategy`` other than ``model_wrapper`` and ``state_dict_cfg``.

    Attributes:
        blank_weights: Names and shapes of all weights, as tensors on the meta device.
    """

    def __init__(self, *, units: Sequence[str] = ('Block',), **kwargs: Any) -> None:
        wrapper = dict(
            type='MMFullyShardedDataParallel',
            use_orig_params=True,
            auto_wrap_policy=partial(wrap_by_class_name, names=tuple(units)),
        )
        offload = torch.cuda.is_available()  # on the CPU, offloading would free the gathered weights
        if not torch.cuda.is_available():
            wrapper['device_id'] = torch.device('cpu')
        state_dict_cfg = dict(
            state_dict_type='FULL_STATE_DICT',
            state_dict_config=dict(type='FullStateDictConfig', offload_to_cpu=offload),
            optim_state_dict_config=dict(type='FullOptimStateDictConfig', offload_to_cpu=offload),
        )
        super().__init__(model_wrapper=wrapper, state_dict_cfg=state_dict_cfg, **kwargs)

    def build_model(self, model: nn.Module | dict) -> nn.Module:
        """Builds the model as in mmengine and stores the names and shapes of its weights.

        They are stored here because no process holds the complete weights after sharding.
        """
        model = super().build_model(model)
        self.blank_weights = {name: value.to('meta') for name, value in model.state_dict().items()}
        return model

    def build_optim_wrapper(
        self, optim_wrapper: BaseOptimWrapper | dict, model: nn.Module | None = None
    ) -> BaseOptimWrapper:
        """Builds the optimizer wrapper as in mmengine, but clips gradients by the norm of the whole model."""
        wrapper = super().build_optim_wrapper(optim_wrapper, model)
        if getattr(wrapper, 'clip_func', None) is clip_grad_norm_:
            wrapper._clip_grad = partial(clip_grad_sharded_model, wrapper)
        return wrapper

    def load_checkpoint(self, filename: str, *, callback: Callable | None = None, **kwargs: Any) -> dict[str, Any]:
        """Loads a checkpoint as in mmengine, but removes the config text, which mmengine would execute on resuming."""

        def checked(checkpoint: dict[str, Any]) -> None:
            checkpoint.update(converted(checkpoint, filename))
            if callback is not None:
                callback(checkpoint)

        return super().load_checkpoint(filename, callback=checked, **kwargs)

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads the optimizer state; replaces mmengine's call, which uses the argument order of an older torch."""
        optimizer = self.optim_wrapper.optimizer
        self.optim_wrapper.load_state_dict(
            FullyShardedDataParallel.optim_state_dict_to_load(self.model, optimizer, state_dict)
        )


@RUNNERS.register_module()
class ShardedRunner(WholeCheckpoints, FlexibleRunner):
    """Runner with :class:`ShardedStrategy` as the default strategy and without validation.

    Validation is not supported: the videos of the processes differ in length, so a process that has finished its videos
    would block the others, which need all processes to gather the weights. Use ``tools/test.py``, which evaluates
    checkpoints without sharding. Loading checkpoints with ``trust`` is not supported either.

    Raises:
        CheckpointError: If the run is not distributed.
    """

    def __init__(self, *args: Any, strategy: dict | None = None, **kwargs: Any) -> None:
        if not dist.is_initialized() and kwargs.get('launcher', 'none') == 'none':
            raise CheckpointError(
                'sharded training needs a distributed run, got launcher=none; start it with tools/dist_train.sh or use '
                'a config without -fsdp in its name'
            )
        for name in ('val_dataloader', 'val_cfg', 'val_evaluator'):
            kwargs[name] = None
        super().__init__(*args, strategy=strategy or dict(type='mmdvis.ShardedStrategy'), **kwargs)
