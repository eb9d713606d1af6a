"""The blocks of the DVIS tracker (arXiv:2306.03413, section 3.3)."""

from typing import Any

from torch import Tensor, nn

from .attention import MultiheadAttention, feed_forward, layer_norms
from .heads import xavier_matrices


class ReferringLayer(nn.Module):
    """Referring cross-attention, self-attention over the slots, feed-forward; a norm after each residual.

    The residual of the cross-attention comes from ``identity`` and not from the query: what is passed on is the frame's
    own content, gathered for the object that ``reference`` asks for.

    Args:
        channels: width C, a multiple of ``num_heads``.
        num_heads, ffn_channels: of the attentions and of the feed-forward block.
        cross_attention: ``'referring'``, or ``'standard'``, where the residual comes from the query (table 7 of the paper).
            In all frames but a video's first the query is the reference, so that a standard block does not see the block
            before it: only the last one counts, and what the tracker starts from changes nothing.
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
        self.ffn = feed_forward(channels, ffn_channels)
        self.norms = layer_norms(channels, 3)
        xavier_matrices(self)

    def forward(self, identity: Tensor, reference: Tensor, frame: Tensor) -> Tensor:
        """identity, reference and frame (B, Q, C) -> (B, Q, C)."""
        x = self.norms[0]((identity if self.is_referring else reference) + self.rca(reference, frame, frame))
        x = self.norms[1](x + self.self_attn(x, x, x))
        return self.norms[2](self.ffn(x))


def referring_layers(channels: int, num_layers: int = 6, **options: Any) -> nn.ModuleList:
    """The decoder of a tracker of width C; options of :class:`ReferringLayer`."""
    return nn.ModuleList(ReferringLayer(channels, **options) for _ in range(num_layers))
