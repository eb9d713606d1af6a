"""Access to a model inside the wrapper for distributed training."""

from mmengine.model import is_model_wrapper
from torch import nn


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model without the wrapper for distributed training."""
    return model.module if is_model_wrapper(model) else model
