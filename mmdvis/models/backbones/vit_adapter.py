"""Compact ViT-Adapter of DVIS++ for plain transformers, and its variant with the MRFP of ViT-CoMer (PVUW 2024)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdvis.checks import Size
from mmdvis.models.functional.precision import full_precision
from mmdvis.models.layers.levels import grid_centres, join_levels, patch_map, split_levels
from mmdvis.models.layers.linear import Linear
from mmdvis.models.layers.ms_deform_attn import MSDeformAttn
from mmdvis.registry import MODELS

EPS, MAX_STRIDE = 1e-6, 32


class SpatialPrior(nn.Module):
    """Convolutional stem that computes maps with C channels at strides 4, 8, 16 and 32.

    Args:
        channels: Number of output channels C.
        width: Number of channels of the first convolutions.
        norm_cfg: Config of the norm layers.
    """

    def __init__(self, channels: int, width: int, norm_cfg: dict) -> None:
        super().__init__()

        def step(source: int, target: int, stride: int) -> list[nn.Module]:
            return [
                nn.Conv2d(source, target, 3, stride, 1, bias=False),
                build_norm_layer(norm_cfg, target)[1],
                nn.ReLU(),
            ]

        self.stem = nn.Sequential(
            *step(3, width, 2), *step(width, width, 1), *step(width, width, 1), nn.MaxPool2d(3, 2, 1)
        )
        self.conv2 = nn.Sequential(*step(width, 2 * width, 2))
        self.conv3 = nn.Sequential(*step(2 * width, 4 * width, 2))
        self.conv4 = nn.Sequential(*step(4 * width, 4 * width, 2))
        for k, factor in enumerate((1, 2, 4, 4), 1):
            setattr(self, f'fc{k}', nn.Conv2d(factor * width, channels, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Four maps, from stride 4 to 32, for images (B, 3, H, W)."""
        c1 = self.stem(images)
        c2 = self.conv2(c1)
        c3 = self.conv3(c2)
        return [self.fc1(c1), self.fc2(c2), self.fc3(c3), self.fc4(self.conv4(c3))]


class SharedDepthwise(nn.Module):
    """Depthwise 3 x 3 convolution shared by all levels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels)

    def forward(self, x: Tensor, shapes: Sequence[Size]) -> Tensor:
        """Convolves the tokens (B, N, C) of all levels -> (B, N, C)."""
        return join_levels([self.dwconv(level) for level in split_levels(x, shapes)])


class ConvFFN(nn.Module):
    """Feed-forward block: linear, depthwise convolution, GELU, linear."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.dwconv, self.fc2 = (Linear(channels, hidden), SharedDepthwise(hidden), Linear(hidden, channels))

    def forward(self, x: Tensor, shapes: Sequence[Size]) -> Tensor:
        """Transforms the tokens (B, N, C) of all levels -> (B, N, C)."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(x), shapes)))


class MRFP(nn.Module):
    """Multi-receptive-field feature pyramid (ViT-CoMer, arXiv:2403.07392).

    Each level has 3 x 3 and 5 x 5 depthwise convolutions, each for one half of the hidden channels.

    Args:
        channels: Number of channels C.
        ratio: Hidden channels as a fraction of C.
        residual: Whether to add the input. The papers do not specify it; the official ViT-CoMer block does not add it.
        norm_cfg: Config of the norm layers.
        num_levels: Number of levels, each with separate convolutions.
    """

    def __init__(
        self,
        channels: int,
        ratio: float = 0.5,
        residual: bool = True,
        norm_cfg: dict | None = None,
        num_levels: int = 3,
    ) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.sizes, self.residual = (hidden // 2, hidden - hidden // 2), residual
        self.fc1, self.fc2 = Linear(channels, hidden), Linear(hidden, channels)
        self.small, self.large = (
            nn.ModuleList(nn.Conv2d(n, n, k, 1, k // 2, groups=n) for _ in range(num_levels))
            for n, k in zip(self.sizes, (3, 5))
        )
        self.norms = nn.ModuleList(build_norm_layer(norm_cfg or dict(type='BN'), hidden)[1] for _ in range(num_levels))

    def forward(self, x: Tensor, shapes: Sequence[Size]) -> Tensor:
        """Transforms the tokens (B, N, C) of all levels -> (B, N, C)."""
        maps = []
        for level, small, large, norm in zip(split_levels(self.fc1(x), shapes), self.small, self.large, self.norms):
            near, far = level.split(self.sizes, 1)
            maps.append(F.gelu(norm(torch.cat([small(near), large(far)], 1))))
        output = self.fc2(F.gelu(join_levels(maps)))
        return x + output if self.residual else output


class Extractor(nn.Module):
    """Updates the tokens of the convolutional stem by deformable attention to the tokens of the transformer.

    Args:
        channels: Number of channels C.
        num_heads: Number of attention heads.
        num_points: Number of sampling points per head.
        hidden: Hidden channels of the feed-forward block.
        mrfp: Arguments of :class:`MRFP`, applied before the attention; None disables it.
    """

    def __init__(self, channels: int, num_heads: int, num_points: int, hidden: int, mrfp: dict | None = None) -> None:
        super().__init__()
        self.mrfp = None if mrfp is None else MRFP(channels, **mrfp)
        self.query_norm, self.feat_norm, self.ffn_norm = (nn.LayerNorm(channels, EPS) for _ in range(3))
        self.attn = MSDeformAttn(channels, num_heads, 1, num_points)
        self.ffn = ConvFFN(channels, hidden)

    def forward(self, x: Tensor, reference: Tensor, patches: Tensor, size: Size, shapes: Sequence[Size]) -> Tensor:
        """Updates the tokens of all levels.

        Args:
            x: Tokens (B, N, C) of all levels.
            reference: Normalised (x, y) reference points (N, 1, 2) of the tokens.
            patches: Patch tokens (B, h * w, C) of the transformer.
            size: Size (h, w) of the patch grid.
            shapes: (height, width) of each level.

        Returns:
            Tokens (B, N, C).
        """
        if self.mrfp is not None:
            x = self.mrfp(x, shapes)
        x = x + self.sample(self.query_norm(x), reference, self.feat_norm(patches), size)
        return x + self.ffn(self.ffn_norm(x), shapes)

    def sample(self, query: Tensor, reference: Tensor, value: Tensor, size: Size) -> Tensor:
        """Deformable attention in float32, regardless of autocast."""
        with full_precision(query):
            return self.attn(query.float(), reference, value.float(), [size]).to(query.dtype)


@MODELS.register_module()
class ViTAdapter(BaseModule):
    """Computes four maps at strides 4, 8, 16 and 32 from a plain transformer.

    Images are padded to a multiple of 32 and of the patch size (224 for patches of 14 pixels), so that the patches and
    the maps of the convolutional stem cover the same area.

    The parameter names are those of the official DVIS++ checkpoints without the prefix ``backbone.``.

    Args:
        vit: Config of the transformer. It must have four stages and, as :class:`DINOv2`, the attributes ``channels``
            and ``patch_size`` and the method ``tokens(images)``.
        num_heads: Number of attention heads of the extractors.
        num_points: Number of sampling points per head.
        ffn_ratio: Hidden channels of the feed-forward blocks as a fraction of the channels.
        prior_channels: Number of channels of the convolutional stem.
        extra_extractors: Number of additional extractors after the last stage.
        mrfp: Arguments of :class:`MRFP` before every extractor; None for the compact adapter of DVIS++.
        norm_cfg: Config of the norm layers; the official code uses SyncBN.
        checkpointing: Whether to recompute the activations of the extractors in the backward pass.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(
        self,
        vit: dict,
        num_heads: int = 16,
        num_points: int = 4,
        ffn_ratio: float = 0.25,
        prior_channels: int = 64,
        extra_extractors: int = 2,
        mrfp: dict | None = None,
        norm_cfg: dict | None = None,
        checkpointing: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or dict(type='BN')
        self.vit_module, self.checkpointing = MODELS.build(vit), checkpointing
        channels = self.vit_module.channels
        self.divisor = math.lcm(MAX_STRIDE, self.vit_module.patch_size)
        mrfp = None if mrfp is None else dict(mrfp, norm_cfg=norm_cfg)

        def extractor() -> Extractor:
            return Extractor(channels, num_heads, num_points, int(channels * ffn_ratio), mrfp)

        self.level_embed = nn.Parameter(torch.zeros(3, channels))
        self.spm = SpatialPrior(channels, prior_channels, norm_cfg)
        self.interactions = nn.ModuleList(nn.Module() for _ in range(4))
        for k, interaction in enumerate(self.interactions):
            interaction.extractor = extractor()
            interaction.extra_extractors = nn.ModuleList(extractor() for _ in range(extra_extractors if k == 3 else 0))
        self.up = nn.ConvTranspose2d(channels, channels, 2, 2)
        for k in range(1, 5):
            setattr(self, f'norm{k}', build_norm_layer(norm_cfg, channels)[1])
        for module in (self.spm, self.interactions, self.up):
            init_adapter_weights(module)
        nn.init.normal_(self.level_embed)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps (B, C, ceil(H / s), ceil(W / s)) at strides s = 4, 8, 16 and 32 for images (B, 3, H, W) of any size."""
        height, width = images.shape[-2:]
        images = F.pad(images, (0, -width % self.divisor, 0, -height % self.divisor))
        maps = self.extract(images)
        return [x[..., : -(-height // s), : -(-width // s)] for x, s in zip(maps, (4, 8, 16, 32))]

    def extract(self, images: Tensor) -> list[Tensor]:
        """:meth:`forward` for images whose sizes are multiples of 32 and of the patch size."""
        stages, size = self.vit_module.tokens(images)
        c1, *levels = self.spm(images)
        shapes = [tuple(level.shape[-2:]) for level in levels]
        x = join_levels([level + embed[:, None, None] for level, embed in zip(levels, self.level_embed)])
        reference = torch.cat([grid_centres(h, w, x.float()) for h, w in shapes])[:, None]
        for tokens, interaction in zip(stages, self.interactions):
            patches = tokens[:, -size[0] * size[1] :]
            for extractor in (interaction.extractor, *interaction.extra_extractors):
                if self.checkpointing and torch.is_grad_enabled():
                    x = checkpoint(extractor, x, reference, patches, size, shapes, use_reentrant=False)
                else:
                    x = extractor(x, reference, patches, size, shapes)
        c2, c3, c4 = split_levels(x, shapes)
        x1, x2, x3, x4 = (resize_map(patch_map(tokens, size), like) for tokens, like in zip(stages, (c1, c2, c3, c4)))
        return [self.norm1(self.up(c2) + c1 + x1), self.norm2(c2 + x2), self.norm3(c3 + x3), self.norm4(c4 + x4)]


def resize_map(x: Tensor, like: Tensor) -> Tensor:
    """Resizes a map (B, C, h, w) to the size of ``like``."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, size=like.shape[-2:], mode='bilinear', align_corners=False)


def init_adapter_weights(root: nn.Module) -> None:
    """Initialises the layers of the adapter, except those of the deformable attention."""
    for name, module in root.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            nn.init.normal_(module.weight, 0, math.sqrt(2.0 / fan_out))
        elif isinstance(module, nn.Linear) and '.attn.' not in name:
            nn.init.trunc_normal_(module.weight, std=0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
