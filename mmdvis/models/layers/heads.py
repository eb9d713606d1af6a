"""MLPs of the prediction heads and initialisation of matrices."""

from mmengine.model import caffe2_xavier_init
from torch import nn

from .linear import Linear


def projection_mlp(channels: int) -> nn.Sequential:
    """Three-layer MLP C -> C as :func:`mask_mlp`, initialised as in DVIS++: Kaiming-uniform weights and zero biases."""
    mlp = mask_mlp(channels, channels)
    for layer in mlp[::2]:
        caffe2_xavier_init(layer)
    return mlp


def mask_mlp(channels: int, out_channels: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Three linear layers with activations in between, named 0, 2 and 4 as in mmdet's checkpoints."""
    return nn.Sequential(
        Linear(channels, channels), act(), Linear(channels, channels), act(), Linear(channels, out_channels)
    )


def xavier_matrices(module: nn.Module) -> None:
    """Initialises every parameter with more than one dimension by the Xavier uniform distribution."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
