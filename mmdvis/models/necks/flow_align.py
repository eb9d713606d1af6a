"""Aligns the features of a reference frame with those of the key frame by a refined optical flow."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdvis.checks import check_choice
from mmdvis.models.functional.warp import local_correlation, warp

SLOPE = 0.1  # of leaky ReLUs


class FlowAlign(BaseModule):
    """Refines a flow by the correlation of the features, and warps the reference with it.

    Args:
        channels: Number of channels C of the features.
        radius: Largest shift of the correlation in pixels.
        warp_once: Whether the reference is warped by the sum of flow and correction; if not, its warped features are
            warped again by the correction, as in the released code.
        init: ``'kaiming'``, ``'xavier'``, or ``'zero'`` to start without a correction.
    """

    def __init__(self, channels: int = 256, radius: int = 4, warp_once: bool = True, init: str = 'kaiming') -> None:
        super().__init__()
        check_choice('init', init, ('kaiming', 'xavier', 'zero'))
        self.radius, self.warp_once, self.init = radius, warp_once, init
        widths = [channels + (2 * radius + 1) ** 2 + 2, 64, 64, 32, 2]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths, widths[1:]))

    def init_weights(self) -> None:
        """Initialises the convolutions."""
        init_convs(self.convs, 'xavier' if self.init == 'xavier' else 'kaiming')
        if self.init == 'zero':
            nn.init.zeros_(self.convs[-1].weight)

    def forward(self, key: Tensor, reference: Tensor, flow: Tensor) -> Tensor:
        """The reference at the positions of the key frame, (B, C, h, w).

        Args:
            key: Features (B, C, h, w).
            reference: Features (B, C, h, w).
            flow: Flow (B, 2, h, w) in pixels of the features, from the key into the reference.
        """
        warped = warp(reference, flow)
        x = torch.cat([key, local_correlation(key, warped, self.radius), flow.to(key.dtype)], 1)
        for conv in self.convs[:-1]:
            x = F.leaky_relu(conv(x), SLOPE)
        correction = self.convs[-1](x).to(flow.dtype)
        return warp(reference, flow + correction) if self.warp_once else warp(warped, correction)


def init_convs(module: nn.Module, kind: str = 'kaiming') -> None:
    """Initialises all convolutions of a module: Kaiming normal (fan out) or Xavier uniform; biases are zero."""
    for conv in (m for m in module.modules() if isinstance(m, nn.Conv2d)):
        if kind == 'xavier':
            nn.init.xavier_uniform_(conv.weight)
        else:
            nn.init.kaiming_normal_(conv.weight, mode='fan_out', nonlinearity='relu')
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
