"""Mixed precision in bfloat16."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import nn

from mmdvis.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Runs the model in bfloat16 where autocast allows it, on any device.

    bfloat16 reaches as far as float32, so that losses need no scaling, and a step is never left out as ``AmpOptimWrapper``
    leaves out those whose gradients overflow. Weights, moments and losses stay float32.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass, and no exchange of gradients while they are accumulated."""
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield
