"""Cross entropy of maps of class logits."""

import torch.nn.functional as F
from torch import Tensor

from mmdvis.structures import VOID


def pixel_cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross entropy of logits (B, K, h, w) over the known pixels of (B, h, w); 0 with a graph without any."""
    total = F.cross_entropy(logits.float(), truth, ignore_index=VOID, reduction='sum')
    return total / (truth != VOID).sum().clamp(min=1)
