"""Linear layers and convolutions of one pixel that are fast on a CPU."""

import torch
from torch import Tensor, nn

from mmdvis.structures.linear import linear


class Linear(nn.Linear):
    """``nn.Linear`` by :func:`~mmdvis.structures.linear.linear`, which is faster on a CPU without gradients."""

    @classmethod
    def sharing(cls, layer: nn.Linear) -> 'Linear':
        """A layer with the parameters of another one."""
        new = cls(layer.in_features, layer.out_features, layer.bias is not None, device='meta')
        new.weight, new.bias = layer.weight, layer.bias
        return new.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layer to (..., in_features) -> (..., out_features)."""
        return linear(x, self.weight, self.bias)


class PointwiseConv(nn.Conv2d):
    """Convolution of one pixel, computed as a linear layer for inputs in the channels-last memory layout.

    Args:
        conv: Convolution for which :meth:`fits` is True, whose parameters are shared.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv.in_channels, conv.out_channels, 1, bias=conv.bias is not None, device='meta')
        self.weight, self.bias = conv.weight, conv.bias

    @staticmethod
    def fits(conv: nn.Conv2d) -> bool:
        """Whether a convolution is a plain one of one pixel."""
        return type(conv) is nn.Conv2d and (conv.kernel_size, conv.stride, conv.padding, conv.groups) == (
            (1, 1),
            (1, 1),
            (0, 0),
            1,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layer to (N, in_channels, h, w) -> (N, out_channels, h, w)."""
        if x.ndim != 4 or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        return linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)
