"""Semantic head of UPSNet (arXiv:1901.03784): deformable convolutions shared by the levels of a pyramid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.ops import DeformConv2d
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdvis.checks import check_choice
from mmdvis.models.functional.pixel_loss import pixel_cross_entropy
from mmdvis.registry import MODELS


class DeformBlock(nn.Module):
    """Deformable convolution without bias, group normalisation and ReLU; its offsets start at zero.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        norm_groups: Groups of the normalisation.
    """

    def __init__(self, in_channels: int, out_channels: int, norm_groups: int) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(in_channels, 18, 3, padding=1)
        self.conv = DeformConv2d(in_channels, out_channels, 3, padding=1)
        self.norm = nn.GroupNorm(norm_groups, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, out_channels, h, w)."""
        return F.relu(self.norm(self.conv(features, self.conv_offset(features))))


@MODELS.register_module()
class UPSNetSemanticHead(BaseModule):
    """Class logits of every pixel at a quarter of the size, for things and stuff.

    Args:
        num_classes: Number of classes K.
        in_channels: Channels of the pyramid.
        channels: Channels after each of the three convolutions.
        norm_groups: Groups of the normalisations.
        loss_at: ``'quarter'``: the loss is computed on every fourth pixel; ``'full'``: on all of them, as in the
            released code.
        loss_weight: Factor of the loss.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int = 256,
        channels: Sequence[int] = (256, 128, 128),
        norm_groups: int = 32,
        loss_at: str = 'quarter',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice('loss_at', loss_at, ('quarter', 'full'))
        self.loss_at, self.loss_weight = loss_at, loss_weight
        widths = [in_channels, *channels]
        self.convs = nn.ModuleList(DeformBlock(a, b, norm_groups) for a, b in zip(widths, widths[1:]))
        self.classifier = nn.Conv2d(4 * channels[-1], num_classes, 1)

    def init_weights(self) -> None:
        """Initialises the convolutions; the offsets start at zero."""
        for block in self.convs:
            nn.init.kaiming_normal_(block.conv.weight, mode='fan_out', nonlinearity='relu')
            nn.init.zeros_(block.conv_offset.weight)
            nn.init.zeros_(block.conv_offset.bias)
        nn.init.kaiming_normal_(self.classifier.weight, mode='fan_out', nonlinearity='relu')
        nn.init.zeros_(self.classifier.bias)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Logits (B, K, h, w) at the size of p2."""
        size, maps = pyramid[0].shape[-2:], []
        for level in pyramid[:4]:
            for block in self.convs:
                level = block(level)
            maps.append(F.interpolate(level, size, mode='bilinear', align_corners=False))
        return self.classifier(torch.cat(maps, 1))

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Mean cross entropy of logits (B, K, h, w) and classes (B, H, W); 0 with a graph if all pixels are void."""
        if self.loss_at == 'full':
            logits = F.interpolate(logits, truth.shape[-2:], mode='bilinear', align_corners=False)
        else:
            truth = truth[:, ::4, ::4]
        return self.loss_weight * pixel_cross_entropy(logits, truth)
