"""Masked-attention decoder of Mask2Former (arXiv:2112.01527)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdvis.models.functional.position_encoding import sine_encoding
from mmdvis.structures.linear import products

from .attention import FeedForward, MultiheadAttention, layer_norms
from .heads import xavier_matrices


class NamedAttention(nn.Module):
    """Attention with the parameter prefix ``attn``, as in mmdet's checkpoints."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.attn = MultiheadAttention(channels, num_heads)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None = None) -> Tensor:
        """See :class:`MultiheadAttention`."""
        return self.attn(query, key, value, allowed)


class MaskedDecoderLayer(nn.Module):
    """Masked cross-attention, self-attention and feed-forward block, with a layer norm after each residual."""

    def __init__(self, channels: int, num_heads: int, ffn_channels: int) -> None:
        super().__init__()
        self.cross_attn = NamedAttention(channels, num_heads)
        self.self_attn = NamedAttention(channels, num_heads)
        self.ffn = FeedForward(channels, ffn_channels)
        self.norms = layer_norms(channels, 3)

    def forward(self, x: Tensor, place: Tensor, memory: Tensor, where: Tensor, allowed: Tensor) -> Tensor:
        """Updates the queries.

        Args:
            x: Content (N, Q, C) of the queries.
            place: Position embedding (Q, C) of the queries.
            memory: Tokens (N, S, C) of one feature level.
            where: Position encoding (S, C) of the tokens.
            allowed: Bool (N, Q, S), True where attention is allowed.

        Returns:
            Queries (N, Q, C).
        """
        x = self.norms[0](x + self.cross_attn(x + place, memory + where, memory, allowed))
        query = x + place
        x = self.norms[1](x + self.self_attn(query, query, x))
        return self.norms[2](self.ffn(x))


class MaskedDecoder(nn.Module):
    """Decoder layers that attend to the memories in turn.

    Args:
        channels: Number of channels C.
        num_layers: Number of layers; layer i attends to memory i modulo the number of memories.
        num_heads: Number of attention heads per layer.
        ffn_channels: Hidden channels of the feed-forward blocks.
    """

    def __init__(self, channels: int = 256, num_layers: int = 9, num_heads: int = 8, ffn_channels: int = 2048) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MaskedDecoderLayer(channels, num_heads, ffn_channels) for _ in range(num_layers))
        self.post_norm = nn.LayerNorm(channels)
        xavier_matrices(self)

    def forward(
        self,
        x: Tensor,
        place: Tensor,
        memories: Sequence[Tensor],
        levels: Tensor,
        mask_features: Tensor,
        mask_embed: Callable[[Tensor], Tensor],
    ) -> list[Tensor]:
        """Decodes the queries.

        Attention masks are computed without masks at stride 4. Resizing commutes with the product over channels, so the
        features are resized once per level and multiplied at that resolution.

        Args:
            x: Content (N, Q, C) of the queries.
            place: Position embedding (Q, C) of the queries.
            memories: Feature maps (N, C, h, w), lowest resolution first.
            levels: Embedding (len(memories), C) of each feature level.
            mask_features: Mask features (N, M, h, w) at stride 4.
            mask_embed: Function from normalised queries (N, Q, C) to mask embeddings (N, Q, M).

        Returns:
            Queries (N, Q, C) before the final norm: the initial ones and those after each layer.
        """
        tokens = [m.flatten(2).transpose(1, 2) + level for m, level in zip(memories, levels)]
        where = [sine_encoding(*m.shape[-2:], x.shape[-1], x) for m in memories]
        small = [
            F.interpolate(mask_features.detach(), size=m.shape[-2:], mode='bilinear', align_corners=False).flatten(2)
            for m in memories
        ]
        states = [x]
        for i, layer in enumerate(self.layers):
            level = i % len(memories)
            with torch.no_grad():
                allowed = products(mask_embed(self.post_norm(x)), small[level]) >= 0  # sigmoid >= 0.5, (N, Q, S)
                allowed = allowed | ~allowed.any(-1, keepdim=True)
            x = layer(x, place, tokens[level], where[level], allowed)
            states.append(x)
        return states
