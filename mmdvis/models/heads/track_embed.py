"""Track head: appearance of objects, and their affinity with the objects of another frame."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdvis.checks import check_choice
from mmdvis.registry import MODELS


@MODELS.register_module()
class TrackEmbedHead(BaseModule):
    """Two fully connected layers on the features of a region, shared by both frames.

    Args:
        in_channels: Channels of the region features.
        roi_size: Height and width of the region features.
        channels: Channels of the appearance.
        similarity: ``'cosine'`` divided by a temperature, or ``'dot'`` as in the released code.
        temperature: Divisor of the cosine.
        loss_weight: Factor of the loss.
        init: ``'kaiming'``, or ``'normal'`` (0.01) as in the released code.
    """

    def __init__(
        self,
        in_channels: int = 256,
        roi_size: int = 7,
        channels: int = 1024,
        similarity: str = 'cosine',
        temperature: float = 0.1,
        loss_weight: float = 1.0,
        init: str = 'kaiming',
    ) -> None:
        super().__init__()
        check_choice('similarity', similarity, ('cosine', 'dot'))
        check_choice('init', init, ('kaiming', 'normal'))
        self.similarity, self.temperature, self.loss_weight, self.init = similarity, temperature, loss_weight, init
        self.fcs = nn.ModuleList([nn.Linear(in_channels * roi_size**2, channels), nn.Linear(channels, channels)])

    def init_weights(self) -> None:
        """Initialises the layers; biases are zero."""
        for layer in self.fcs:
            if self.init == 'normal':
                nn.init.normal_(layer.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(layer.weight, mode='fan_out', nonlinearity='relu')
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Appearance (n, C) of regions with features (n, in_channels, roi_size, roi_size)."""
        return self.fcs[1](F.relu(self.fcs[0](features.flatten(1))))

    def affinity(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits (n, 1 + m) of each object being new (0) or one of m objects.

        Args:
            first: Appearance (n, C).
            second: Appearance (m, C).
        """
        if self.similarity == 'cosine':
            first, second = F.normalize(first.float(), dim=1), F.normalize(second.float(), dim=1)
            scores = first @ second.T / self.temperature
        else:
            scores = first.float() @ second.float().T
        return torch.cat([scores.new_zeros(len(first), 1), scores], 1)

    def loss(self, first: Tensor, second: Tensor, ids: Tensor, other_ids: Tensor) -> Tensor:
        """Mean cross entropy of the affinities; 0 with a graph without objects.

        Args:
            first: Appearance (n, C) of the objects of the key frame.
            second: Appearance (m, C) of the objects of the reference.
            ids: Id (n,) of each object of the key frame.
            other_ids: Id (m,) of each object of the reference.
        """
        logits = self.affinity(first, second)
        same = ids[:, None] == other_ids[None]
        target = torch.where(same.any(1), same.int().argmax(1) + 1, torch.zeros_like(ids)) if same.numel() else ids * 0
        total = F.cross_entropy(logits, target, reduction='sum') + 0 * second.sum()
        return self.loss_weight * total / max(len(first), 1)
