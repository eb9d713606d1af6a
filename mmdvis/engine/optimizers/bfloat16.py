"""Mixed precision training in bfloat16."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from mmdvis.registry import OPTIM_WRAPPERS
from mmdvis.structures.linear import has_slow_bfloat16


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Optimizer wrapper that runs the forward pass under bfloat16 autocast, on any device.

    bfloat16 has the range of float32, so unlike with ``AmpOptimWrapper``, no loss scaling is needed and no step is
    skipped because of overflow. Weights, optimizer states and losses stay in float32. Warns on an x86 CPU without
    AVX-512, which is slower in bfloat16 than in float32.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if get_device() == 'cpu' and has_slow_bfloat16():
            warnings.warn('training in bf16 is slow on this CPU, which has no AVX-512; train in fp32', stacklevel=2)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enables autocast, and disables gradient synchronisation during gradient accumulation."""
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield
