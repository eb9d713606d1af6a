"""Pixel decoder of Mask2Former (arXiv:2112.01527): a deformable encoder over three levels and one FPN level."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import caffe2_xavier_init, xavier_init
from torch import Tensor, nn

from mmdvis.models.functional.position_encoding import sine_encoding
from mmdvis.models.functional.precision import full_precision, runs_in_bfloat16
from mmdvis.registry import MODELS

from .attention import FeedForward, layer_norms
from .heads import xavier_matrices
from .levels import grid_centres, join_levels, split_levels
from .ms_deform_attn import MSDeformAttn


class EncoderLayer(nn.Module):
    """Deformable self-attention and feed-forward block, with a layer norm after each residual."""

    def __init__(self, channels: int, num_heads: int, ffn_channels: int, num_points: int) -> None:
        super().__init__()
        self.self_attn = MSDeformAttn(channels, num_heads, 3, num_points)
        self.ffn = FeedForward(channels, ffn_channels)
        self.norms = layer_norms(channels, 2)
        xavier_matrices(self.ffn)

    def forward(self, x: Tensor, position: Tensor, reference: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        """Encodes the tokens of all levels.

        Args:
            x: Tokens (B, S, C).
            position: Position encoding (S, C).
            reference: Normalised (x, y) reference points (S, 3, 2).
            shapes: (height, width) of each level.

        Returns:
            Tokens (B, S, C).
        """
        x = self.norms[0](x + self.self_attn(x + position, reference, x, shapes))
        return self.norms[1](self.ffn(x))


@MODELS.register_module()
class PixelDecoder(nn.Module):
    """Computes mask features at stride 4 and three memories from the features of the backbone.

    Args:
        in_channels: Channels of the backbone features at strides 4, 8, 16 and 32.
        channels: Number of channels C of the encoder.
        mask_channels: Number of channels M of the mask features.
        num_layers: Number of encoder layers.
        num_heads: Number of attention heads of the encoder.
        ffn_channels: Hidden channels of the feed-forward blocks.
        num_points: Number of sampling points per head and level.
        norm_groups: Number of groups of the group norms.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        mask_channels: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        ffn_channels: int = 1024,
        num_points: int = 4,
        norm_groups: int = 32,
    ) -> None:
        super().__init__()
        norm = dict(norm_cfg=dict(type='GN', num_groups=norm_groups), act_cfg=None)
        stride4, *coarse = in_channels
        self.input_convs = nn.ModuleList(ConvModule(c, channels, 1, bias=True, **norm) for c in reversed(coarse))
        self.level_encoding = nn.Embedding(len(coarse), channels)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(
            EncoderLayer(channels, num_heads, ffn_channels, num_points) for _ in range(num_layers)
        )
        self.lateral_convs = nn.ModuleList([ConvModule(stride4, channels, 1, bias=False, **norm)])
        self.output_convs = nn.ModuleList(
            [ConvModule(channels, channels, 3, padding=1, bias=False, **{**norm, 'act_cfg': dict(type='ReLU')})]
        )
        self.mask_feature = nn.Conv2d(channels, mask_channels, 1)
        for conv in self.input_convs:
            xavier_init(conv.conv, distribution='uniform')
        for conv in (self.lateral_convs[0].conv, self.output_convs[0].conv, self.mask_feature):
            caffe2_xavier_init(conv)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Decodes the features of the backbone, in float32 except for inference under bfloat16 autocast.

        Args:
            features: Features (N, c, h, w) at strides 4, 8, 16 and 32.

        Returns:
            Mask features (N, M, h, w) at stride 4, and memories (N, C, h, w) at strides 32, 16 and 8.
        """
        if runs_in_bfloat16(features[0]) and not self.training:
            return self.decode(features)
        with full_precision(features[0]):  # float32, as in the official code
            return self.decode([x.float() for x in features])

    def decode(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """:meth:`forward` in the current precision."""
        fine, *coarse = features
        levels = [conv(x) for conv, x in zip(self.input_convs, reversed(coarse))]
        shapes = [tuple(x.shape[-2:]) for x in levels]
        x = join_levels(levels)  # (N, S, C)
        position = torch.cat(
            [sine_encoding(h, w, x.shape[-1], x) + level for (h, w), level in zip(shapes, self.level_encoding.weight)]
        )
        reference = torch.cat([grid_centres(h, w, x) for h, w in shapes])[:, None].expand(-1, len(shapes), -1)
        for layer in self.encoder.layers:
            x = layer(x, position, reference, shapes)
        memories = split_levels(x, shapes)
        finest = F.interpolate(memories[-1], size=fine.shape[-2:], mode='bilinear', align_corners=False)
        lateral = self.lateral_convs[0](fine)
        lateral = lateral + finest if torch.is_grad_enabled() else lateral.add_(finest)
        return self.mask_feature(self.output_convs[0](lateral)), memories
