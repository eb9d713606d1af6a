"""Decoder layers of the DVIS temporal refiner (arXiv:2306.03413, section 3.4)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .attention import FeedForward, MultiheadAttention
from .heads import xavier_matrices

PART = 1 << 22  # maximum number of values per chunk without gradients


class TemporalLayer(nn.Module):
    """Temporal attention, temporal convolution, object attention, cross-attention to the frame and feed-forward block.

    Args:
        channels: Number of channels C, a multiple of ``num_heads``.
        num_heads: Number of attention heads.
        ffn_channels: Hidden channels of the feed-forward block.
        time_attention: Whether to use the long-term temporal attention (table 8 of the paper).
        convolution: Whether to use the short-term temporal convolution (table 8 of the paper).
        cross_attention: Whether to use the cross-attention to the frame (table 8 of the paper).
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
        self.ffn = FeedForward(channels, ffn_channels)
        # identities, so that the other norms keep their parameter names
        has_part = (time_attention, convolution, True, cross_attention, True)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) if has else nn.Identity() for has in has_part)
        xavier_matrices(self)
        self.conv = short_convolution(channels) if convolution else None

    def forward(self, tracks: Tensor, context: Tensor, allowed: Tensor, hold: Tensor) -> Tensor:
        """Refines tracks.

        Args:
            tracks: Queries (B, T, Q, C) of every track in every frame.
            context: Frame queries (B, T, Q', C) for the cross-attention.
            allowed: Bool (B * Q, 1, T), True for the frames that a track may attend to.
            hold: Index (B, T) int64 of the frame that the convolutions read for each frame. It is the frame itself, or
                the last frame of the video for padding frames, so that padding is equivalent to replicating the border.

        Returns:
            Refined queries (B, T, Q, C).
        """
        if torch.is_grad_enabled():
            return self.at_frames(self.along_time(tracks, allowed, hold), context)
        return self.by_parts(tracks, context, allowed, hold)

    def by_parts(self, tracks: Tensor, context: Tensor, allowed: Tensor, hold: Tensor) -> Tensor:
        """:meth:`forward` without gradients, in chunks of tracks and then of frames to limit memory."""
        batch, frames, slots, channels = tracks.shape
        out, allowed = torch.empty_like(tracks), allowed.unflatten(0, (batch, slots))
        for chunk in parts(slots, batch * frames * channels):
            out[:, :, chunk] = self.along_time(tracks[:, :, chunk], allowed[:, chunk].flatten(0, 1), hold)
        for chunk in parts(frames, batch * slots * self.hidden):
            out[:, chunk] = self.at_frames(out[:, chunk], context[:, chunk])
        return out

    def along_time(self, tracks: Tensor, allowed: Tensor, hold: Tensor) -> Tensor:
        """Temporal attention and convolution of each track (B, T, Q, C)."""
        batch, _, slots, _ = tracks.shape
        x = tracks.transpose(1, 2).flatten(0, 1)  # (B * Q, T, C)
        if self.time_attn is not None:
            x = self.norms[0](x + self.time_attn(x, x, x, allowed))
        if self.conv is not None:
            x = self.norms[1](x + self.convolve(x, hold.repeat_interleave(slots, 0)))
        return x.unflatten(0, (batch, -1)).transpose(1, 2)

    def at_frames(self, tracks: Tensor, context: Tensor) -> Tensor:
        """Object attention, cross-attention and feed-forward block of the tracks (B, T, Q, C) in each frame."""
        x, frames = tracks.flatten(0, 1), context.flatten(0, 1)  # (B * T, Q, C)
        x = self.norms[2](x + self.object_attn(x, x, x))
        if self.cross_attn is not None:
            x = self.norms[3](x + self.cross_attn(x, frames, frames))
        return self.norms[4](self.ffn(x)).unflatten(0, tracks.shape[:2])

    def convolve(self, x: Tensor, hold: Tensor) -> Tensor:
        """Two temporal convolutions of (N, T, C), whose inputs are gathered by the frame indices ``hold`` (N, T)."""
        first, activate, second = self.conv
        index = hold[:, None]
        x = activate(first(x.transpose(1, 2).take_along_dim(index, 2)))  # (N, C, T)
        return second(x.take_along_dim(index, 2)).transpose(1, 2)


def short_convolution(channels: int) -> nn.Sequential:
    """Two temporal convolutions with ReLU in between and replicated border frames."""
    same = dict(padding='same', padding_mode='replicate')
    first, second = (nn.Conv1d(channels, channels, kernel, **same) for kernel in (5, 3))
    return nn.Sequential(first, nn.ReLU(inplace=True), second)


def temporal_layers(channels: int, num_layers: int = 6, **options: Any) -> nn.ModuleList:
    """Decoder of a refiner with C = ``channels``; ``options`` are arguments of :class:`TemporalLayer`."""
    return nn.ModuleList(TemporalLayer(channels, **options) for _ in range(num_layers))


def parts(number: int, size: int) -> Iterator[slice]:
    """Slices over ``number`` items of ``size`` values each, with at most ``PART`` values or one item per slice."""
    step = max(1, PART // max(size, 1))
    yield from (slice(start, start + step) for start in range(0, number, step))


def time_masks(valid: Tensor) -> tuple[Tensor, Tensor]:
    """Attention masks and convolution indices of a temporal layer.

    Args:
        valid: Bool (B, T, Q), True for the frames in which a track is valid.

    Returns:
        ``allowed`` (B * Q, 1, T) bool, all True for a track that is never valid, and ``hold`` (B, T) int64; see
        :meth:`TemporalLayer.forward`.
    """
    allowed = valid.transpose(1, 2).flatten(0, 1)[:, None]
    allowed = allowed | ~allowed.any(-1, keepdim=True)
    length = valid.any(-1).sum(1, keepdim=True)
    frame = torch.arange(valid.shape[1], device=valid.device)[None]
    return allowed, torch.minimum(frame, (length - 1).clamp(min=0))
