"""What stages with heads share: small MLPs, and how new matrices start."""

from mmengine.model import caffe2_xavier_init
from torch import nn


def projection_mlp(channels: int) -> nn.Sequential:
    """C -> C as :func:`mask_mlp`, with the start of DVIS++'s projections: Kaiming-uniform matrices, zero biases."""
    mlp = mask_mlp(channels, channels)
    for layer in mlp[::2]:
        caffe2_xavier_init(layer)
    return mlp


def mask_mlp(channels: int, out_channels: int) -> nn.Sequential:
    """Three linear layers with ReLU between, named 0, 2 and 4 as in mmdet's checkpoints."""
    return nn.Sequential(
        nn.Linear(channels, channels),
        nn.ReLU(),
        nn.Linear(channels, channels),
        nn.ReLU(),
        nn.Linear(channels, out_channels),
    )


def xavier_matrices(module: nn.Module) -> None:
    """Xavier-uniform initialisation of every parameter with more than one dimension."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
