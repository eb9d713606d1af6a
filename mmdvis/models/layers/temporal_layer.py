"""One block of the DVIS temporal refiner (arXiv:2306.03413, section 3.4)."""
from typing import Tuple

import torch
from torch import Tensor, nn

from .attention import Attention, feed_forward, norms
from .heads import xavier_matrices


class TemporalLayer(nn.Module):
    """Attention over time, convolution over time, attention over objects, attention to the frame, feed-forward."""

    def __init__(self, channels: int, num_heads: int, ffn_channels: int) -> None:
        super().__init__()
        self.time_attn = Attention(channels, num_heads)
        self.object_attn = Attention(channels, num_heads)
        self.cross_attn = Attention(channels, num_heads)
        self.ffn = feed_forward(channels, ffn_channels)
        self.norms = norms(channels, 5)
        xavier_matrices(self)
        self.conv = nn.Sequential(
            nn.Conv1d(channels, channels, 5, padding='same', padding_mode='replicate'), nn.ReLU(inplace=True),
            nn.Conv1d(channels, channels, 3, padding='same', padding_mode='replicate'))

    def forward(self, tracks: Tensor, context: Tensor, allowed: Tensor, hold: Tensor) -> Tensor:
        """Refines tracks.

        Args:
            tracks (B, T, Q, C): queries of every track in every frame.
            context (B, T, Q', C): what the frame itself offers.
            allowed (B * Q, 1, T): bool, the frames a track may attend to.
            hold (B, T): int64, the frame that stands for each frame in the convolutions: itself, or behind the end of a
                video its last frame, so that padding looks like the replicated border.

        Returns:
            (B, T, Q, C)
        """
        batch, _, slots, _ = tracks.shape
        x = tracks.transpose(1, 2).flatten(0, 1)  # (B * Q, T, C)
        x = self.norms[0](x + self.time_attn(x, x, x, allowed))
        x = self.norms[1](x + self.convolve(x, hold.repeat_interleave(slots, 0)))
        x, frames = to_frames(x, batch), context.flatten(0, 1)  # (B * T, Q, C)
        x = self.norms[2](x + self.object_attn(x, x, x))
        x = self.norms[3](x + self.cross_attn(x, frames, frames))
        return self.norms[4](self.ffn(x)).unflatten(0, (batch, -1))

    def convolve(self, x: Tensor, hold: Tensor) -> Tensor:
        """Two convolutions over time on (N, T, C), each seeing its input as ``hold`` (N, T) says."""
        first, activate, second = self.conv
        index = hold[:, None]
        x = activate(first(x.transpose(1, 2).take_along_dim(index, 2)))  # (N, C, T)
        return second(x.take_along_dim(index, 2)).transpose(1, 2)


def to_frames(x: Tensor, batch: int) -> Tensor:
    """(B * Q, T, C) -> (B * T, Q, C)."""
    return x.unflatten(0, (batch, -1)).transpose(1, 2).flatten(0, 1)


def time_masks(valid: Tensor) -> Tuple[Tensor, Tensor]:
    """What a temporal layer must know of padding, from valid (B, T, Q).

    Returns:
        allowed (B * Q, 1, T) bool, all True for a track that is never valid; hold (B, T) int64.
    """
    allowed = valid.transpose(1, 2).flatten(0, 1)[:, None]
    allowed = allowed | ~allowed.any(-1, keepdim=True)
    length = valid.any(-1).sum(1, keepdim=True)
    frame = torch.arange(valid.shape[1], device=valid.device)[None]
    return allowed, torch.minimum(frame, (length - 1).clamp(min=0))
