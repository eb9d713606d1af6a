"""One block of the DVIS tracker (arXiv:2306.03413, section 3.3)."""
from torch import Tensor, nn

from .attention import Attention, feed_forward, norms
from .heads import xavier_matrices


class ReferringLayer(nn.Module):
    """Referring cross-attention, self-attention over the slots, feed-forward; a norm behind each residual.

    The residual of the cross-attention comes from ``identity`` and not from the query: what is passed on is the frame's
    own content, gathered for the object that ``reference`` asks for.
    """

    def __init__(self, channels: int, num_heads: int, ffn_channels: int) -> None:
        super().__init__()
        self.rca = Attention(channels, num_heads)
        self.self_attn = Attention(channels, num_heads)
        self.ffn = feed_forward(channels, ffn_channels)
        self.norms = norms(channels, 3)
        xavier_matrices(self)

    def forward(self, identity: Tensor, reference: Tensor, frame: Tensor) -> Tensor:
        """identity, reference and frame (B, Q, C) -> (B, Q, C)."""
        x = self.norms[0](identity + self.rca(reference, frame, frame))
        x = self.norms[1](x + self.self_attn(x, x, x))
        return self.norms[2](self.ffn(x))
