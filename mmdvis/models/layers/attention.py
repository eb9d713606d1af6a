"""Multi-head attention with the fused kernel, feed-forward blocks and layer norms."""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from mmengine.model import Sequential
from torch import Tensor, nn

from mmdvis.structures.linear import linear

from .linear import Linear

HIDDEN = 1 << 19  # maximum number of hidden values of a feed-forward block that are computed at once


class MultiheadAttention(nn.Module):
    """Batch-first multi-head attention with the parameter names of ``nn.MultiheadAttention``.

    Args:
        channels: Number of channels C, a multiple of ``num_heads``.
        num_heads: Number of attention heads.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        if channels % num_heads:
            raise ValueError(f'channels must be a multiple of num_heads, got {channels} and {num_heads}')
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Attends from the query to the keys and values.

        Args:
            query: Query (B, N, C).
            key: Key (B, S, C).
            value: Value (B, S, C).
            allowed: Bool (B, N, S) or (B, 1, S), True where attention is allowed; every row needs at least one True.

        Returns:
            Attended values (B, N, C).
        """
        q, k, v = (x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for x in self.project(query, key, value))
        mask = None if allowed is None else allowed[:, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, heads, N, d)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def project(self, *inputs: Tensor) -> list[Tensor]:
        """Projects query, key and value; consecutive inputs that are the same tensor share one matrix product."""
        projected, start, size = [], 0, self.out_proj.in_features
        for stop in range(1, 4):
            if stop < 3 and inputs[stop] is inputs[start]:
                continue
            rows = slice(start * size, stop * size)
            projected.extend(linear(inputs[start], self.in_proj_weight[rows], self.in_proj_bias[rows]).split(size, -1))
            start = stop
        return projected


class FeedForward(FFN):
    """Feed-forward block C -> hidden -> C with ReLU and a residual, with the parameter names of mmdet's checkpoints.

    Without gradients, tokens are processed in chunks, so that the hidden values stay in the cache.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__(channels, hidden, act_cfg=dict(type='ReLU', inplace=True))
        (first, *others), second, *rest = self.layers
        self.layers = Sequential(Sequential(Linear.sharing(first), *others), Linear.sharing(second), *rest)

    def forward(self, x: Tensor) -> Tensor:
        """Applies the block to tokens (..., C) -> (..., C)."""
        step = max(1, HIDDEN // self.feedforward_channels)
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.numel() <= step * self.embed_dims:
            return super().forward(x)
        chunks = x.reshape(-1, self.embed_dims).split(step)
        return torch.cat([super(FeedForward, self).forward(chunk) for chunk in chunks]).view(x.shape)


def layer_norms(channels: int, number: int) -> nn.ModuleList:
    """List of ``number`` layer norms."""
    return nn.ModuleList(nn.LayerNorm(channels) for _ in range(number))
