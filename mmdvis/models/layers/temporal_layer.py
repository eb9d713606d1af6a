"""The blocks of the DVIS temporal refiner (arXiv:2306.03413, section 3.4)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .attention import MultiheadAttention, feed_forward
from .heads import xavier_matrices

PART = 1 << 22  # numbers that are worked on together where no gradients are wanted


class TemporalLayer(nn.Module):
    """Attention over time, convolution over time, attention over objects, attention to the frame, feed-forward.

    Args:
        channels: width C, a multiple of ``num_heads``.
        num_heads, ffn_channels: of the attentions and of the feed-forward block.
        time_attention, convolution, cross_attention: whether the block has its long-term attention, its short-term
            convolution and its attention to the frame (table 8 of the paper).
    """

    def __init__(
        self,
        channels: int,
        num_heads: int = 8,
        ffn_channels: int = 2048,
        time_attention: bool = True,
        convolution: bool = True,
        cross_attention: bool = True,
    ) -> None:
        super().__init__()
        self.time_attn = MultiheadAttention(channels, num_heads) if time_attention else None
        self.object_attn, self.hidden = MultiheadAttention(channels, num_heads), ffn_channels
        self.cross_attn = MultiheadAttention(channels, num_heads) if cross_attention else None
        self.ffn = feed_forward(channels, ffn_channels)
        # placeholders keep the names of the other norms
        has_part = (time_attention, convolution, True, cross_attention, True)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) if has else nn.Identity() for has in has_part)
        xavier_matrices(self)
        self.conv = short_convolution(channels) if convolution else None

    def forward(self, tracks: Tensor, context: Tensor, allowed: Tensor, hold: Tensor) -> Tensor:
        """Refines tracks.

        Args:
            tracks (B, T, Q, C): queries of every track in every frame.
            context (B, T, Q', C): what the frame itself offers.
            allowed (B * Q, 1, T): bool, the frames a track may attend to.
            hold (B, T): int64, the frame that stands for each frame in the convolutions: itself, or after the end of a
                video its last frame, so that padding looks like the replicated border.

        Returns:
            (B, T, Q, C)
        """
        if torch.is_grad_enabled():
            return self.at_frames(self.along_time(tracks, allowed, hold), context)
        return self.by_parts(tracks, context, allowed, hold)

    def by_parts(self, tracks: Tensor, context: Tensor, allowed: Tensor, hold: Tensor) -> Tensor:
        """The same without gradients: some tracks at a time, then some frames, so that only the result grows with both."""
        batch, frames, slots, channels = tracks.shape
        out, allowed = torch.empty_like(tracks), allowed.unflatten(0, (batch, slots))
        for some in parts(slots, batch * frames * channels):
            out[:, :, some] = self.along_time(tracks[:, :, some], allowed[:, some].flatten(0, 1), hold)
        for some in parts(frames, batch * slots * self.hidden):
            out[:, some] = self.at_frames(out[:, some], context[:, some])
        return out

    def along_time(self, tracks: Tensor, allowed: Tensor, hold: Tensor) -> Tensor:
        """What each track (B, T, Q, C) makes of its own other frames."""
        batch, _, slots, _ = tracks.shape
        x = tracks.transpose(1, 2).flatten(0, 1)  # (B * Q, T, C)
        if self.time_attn is not None:
            x = self.norms[0](x + self.time_attn(x, x, x, allowed))
        if self.conv is not None:
            x = self.norms[1](x + self.convolve(x, hold.repeat_interleave(slots, 0)))
        return x.unflatten(0, (batch, -1)).transpose(1, 2)

    def at_frames(self, tracks: Tensor, context: Tensor) -> Tensor:
        """What the tracks (B, T, Q, C) of each frame make of each other and of the frame itself."""
        x, frames = tracks.flatten(0, 1), context.flatten(0, 1)  # (B * T, Q, C)
        x = self.norms[2](x + self.object_attn(x, x, x))
        if self.cross_attn is not None:
            x = self.norms[3](x + self.cross_attn(x, frames, frames))
        return self.norms[4](self.ffn(x)).unflatten(0, tracks.shape[:2])

    def convolve(self, x: Tensor, hold: Tensor) -> Tensor:
        """Two convolutions over time on (N, T, C), each seeing its input as ``hold`` (N, T) says."""
        first, activate, second = self.conv
        index = hold[:, None]
        x = activate(first(x.transpose(1, 2).take_along_dim(index, 2)))  # (N, C, T)
        return second(x.take_along_dim(index, 2)).transpose(1, 2)


def short_convolution(channels: int) -> nn.Sequential:
    """Two convolutions over time with ReLU between; the border frames are repeated outwards."""
    same = dict(padding='same', padding_mode='replicate')
    first, second = (nn.Conv1d(channels, channels, kernel, **same) for kernel in (5, 3))
    return nn.Sequential(first, nn.ReLU(inplace=True), second)


def temporal_layers(channels: int, num_layers: int = 6, **options: Any) -> nn.ModuleList:
    """The decoder of a refiner of width C; options of :class:`TemporalLayer`."""
    return nn.ModuleList(TemporalLayer(channels, **options) for _ in range(num_layers))


def parts(number: int, size: int) -> Iterator[slice]:
    """Slices of ``number`` things that each have ``size`` numbers, so many at a time as keep within ``PART``."""
    step = max(1, PART // max(size, 1))
    yield from (slice(start, start + step) for start in range(0, number, step))


def time_masks(valid: Tensor) -> tuple[Tensor, Tensor]:
    """What a temporal layer must know of padding, from valid (B, T, Q).

    Returns:
        allowed (B * Q, 1, T) bool, all True for a track that is never valid; hold (B, T) int64.
    """
    allowed = valid.transpose(1, 2).flatten(0, 1)[:, None]
    allowed = allowed | ~allowed.any(-1, keepdim=True)
    length = valid.any(-1).sum(1, keepdim=True)
    frame = torch.arange(valid.shape[1], device=valid.device)[None]
    return allowed, torch.minimum(frame, (length - 1).clamp(min=0))
