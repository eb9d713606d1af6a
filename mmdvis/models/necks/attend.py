"""Spatio-temporal attention over the features of a key frame and its references (one level of EDVR's TSA module)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from .flow_align import SLOPE


class SpatioTemporalAttend(BaseModule):
    """Fuses a key frame with N references by attention over time, then over space.

    Args:
        channels: Number of channels C of the features.
        num_references: Number of references N.
    """

    def __init__(self, channels: int = 256, num_references: int = 1) -> None:
        super().__init__()
        frames = num_references + 1
        self.time_frames = nn.Conv2d(channels, channels, 3, padding=1)
        self.time_key = nn.Conv2d(channels, channels, 3, padding=1)
        self.fusion = nn.Conv2d(frames * channels, channels, 1)
        self.space = nn.ModuleList(
            [
                nn.Conv2d(frames * channels, channels, 1),
                nn.Conv2d(2 * channels, channels, 1),
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.Conv2d(channels, channels, 3, padding=1),
            ]
        )
        self.offset = nn.ModuleList([nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)])

    def forward(self, key: Tensor, references: Sequence[Tensor]) -> Tensor:
        """Fused features (B, C, h, w).

        Args:
            key: Features (B, C, h, w) of the key frame.
            references: Features (B, C, h, w) of the N references, aligned with the key frame.
        """
        frames, centre = [key, *references], self.time_key(key)
        weights = [(self.time_frames(frame) * centre).sum(1, keepdim=True).sigmoid() for frame in frames]
        weighted = torch.cat([frame * weight for frame, weight in zip(frames, weights)], 1)
        fused = F.leaky_relu(self.fusion(weighted), SLOPE)
        space = F.leaky_relu(self.space[0](weighted), SLOPE)
        pooled = [pool(space, 3, stride=2, padding=1) for pool in (F.max_pool2d, F.avg_pool2d)]
        space = F.leaky_relu(self.space[1](torch.cat(pooled, 1)), SLOPE)
        space = F.leaky_relu(self.space[2](space), SLOPE)
        space = F.interpolate(space, key.shape[-2:], mode='bilinear', align_corners=False)
        space = self.space[3](space)
        return 2 * fused * space.sigmoid() + self.offset[1](F.leaky_relu(self.offset[0](space), SLOPE))
