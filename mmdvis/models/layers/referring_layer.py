"""Decoder layers of the DVIS tracker (arXiv:2306.03413, section 3.3)."""

from typing import Any

from torch import Tensor, nn

from .attention import FeedForward, MultiheadAttention, layer_norms
from .heads import xavier_matrices


class ReferringLayer(nn.Module):
    """Referring cross-attention, self-attention and feed-forward block, with a layer norm after each residual.

    The residual of the cross-attention is ``identity`` instead of the attention query ``reference``. The layer
    therefore passes on the content of the frame, gathered for the object described by ``reference``.

    Args:
        channels: Number of channels C, a multiple of ``num_heads``.
        num_heads: Number of attention heads.
        ffn_channels: Hidden channels of the feed-forward block.
        cross_attention: ``'referring'``, or ``'standard'`` to use the attention query as residual (table 7 of the
            paper). With ``'standard'``, the query is the reference in all frames except the first frame of a video. A
            layer then ignores the output of the previous layer: only the last layer has an effect, and the initial
            queries have none.
    """

    def __init__(
        self, channels: int, num_heads: int = 8, ffn_channels: int = 2048, cross_attention: str = 'referring'
    ) -> None:
        super().__init__()
        if cross_attention not in ('referring', 'standard'):
            raise ValueError(f"cross_attention must be 'referring' or 'standard', got {cross_attention!r}")
        self.is_referring = cross_attention == 'referring'
        self.rca = MultiheadAttention(channels, num_heads)
        self.self_attn = MultiheadAttention(channels, num_heads)
        self.ffn = FeedForward(channels, ffn_channels)
        self.norms = layer_norms(channels, 3)
        xavier_matrices(self)

    def forward(self, identity: Tensor, reference: Tensor, frame: Tensor) -> Tensor:
        """Computes the queries of a frame; all arguments and the result are (B, Q, C).

        Args:
            identity: Output of the previous layer, or the initial queries.
            reference: Queries of the cross-attention.
            frame: Queries of the frame that are attended to.
        """
        x = self.norms[0]((identity if self.is_referring else reference) + self.rca(reference, frame, frame))
        x = self.norms[1](x + self.self_attn(x, x, x))
        return self.norms[2](self.ffn(x))


def referring_layers(channels: int, num_layers: int = 6, **options: Any) -> nn.ModuleList:
    """Decoder of a tracker with C = ``channels``; ``options`` are arguments of :class:`ReferringLayer`."""
    return nn.ModuleList(ReferringLayer(channels, **options) for _ in range(num_layers))
