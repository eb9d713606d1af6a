"""DINOv2 (arXiv:2304.07193) with the parameter names of the official checkpoints, which load without conversion."""

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmdvis.models.layers.levels import patch_map
from mmdvis.models.layers.linear import Linear
from mmdvis.registry import MODELS
from mmdvis.structures.linear import linear

ARCHES = dict(
    small=dict(channels=384, depth=12, num_heads=6, ffn='mlp'),
    base=dict(channels=768, depth=12, num_heads=12, ffn='mlp'),
    large=dict(channels=1024, depth=24, num_heads=16, ffn='mlp'),
    giant=dict(channels=1536, depth=40, num_heads=24, ffn='swiglu'),
)
EPS = 1e-6  # epsilon of every layer norm
TABLE = 37  # side length of the position grid of the released weights
Rotation = tuple[Tensor, Tensor]  # cosines and sines (n, d) of the last n tokens, for heads of width d


class JointProjection(Linear):
    """Joint projection of query, key and value, in which the key has no bias."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 3 * channels, bias=False)
        self.query_bias, self.value_bias = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Projects the tokens (B, N, C) -> (B, N, 3 C)."""
        return linear(x, self.weight, self.joint_bias())

    def joint_bias(self) -> Tensor:
        """Bias (3 C,) of query, key and value."""
        return torch.cat([self.query_bias, torch.zeros_like(self.query_bias), self.value_bias])

    def as_linear(self) -> nn.Linear:
        """A plain linear layer with the same results."""
        linear = Linear(self.in_features, self.out_features, device=self.weight.device, dtype=self.weight.dtype)
        linear.load_state_dict(dict(weight=self.weight, bias=self.joint_bias()))
        return linear


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotates the channels of the last n tokens of (..., N, d); channel c forms a pair with channel c + d / 2."""
    cos, sin = rotation
    others, patches = x.split([x.shape[-2] - len(cos), len(cos)], -2)
    first, second = patches.float().chunk(2, -1)
    rotated = patches.float() * cos + torch.cat([-second, first], -1) * sin
    return torch.cat([others, rotated.to(x.dtype)], -2)


class SelfAttention(nn.Module):
    """Self-attention with a joint projection of query, key and value."""

    def __init__(self, channels: int, num_heads: int, key_bias: bool = True) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Linear(channels, 3 * channels) if key_bias else JointProjection(channels)
        self.proj = Linear(channels, channels)

    def forward(self, x: Tensor, allowed: Tensor | None = None, rotation: Rotation | None = None) -> Tensor:
        """Attends between the tokens (B, N, C) -> (B, N, C).

        Args:
            x: Tokens.
            allowed: Bool (B, R, N), the tokens that the first R tokens may attend to; the others attend to all, and
                with None, all do.
            rotation: Rotation of queries and keys; None for none.
        """
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, N, d) each
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if allowed is None:
            return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        first, others = q.split([allowed.shape[1], q.shape[2] - allowed.shape[1]], 2)
        parts = (
            F.scaled_dot_product_attention(first, k, v, allowed[:, None]),
            F.scaled_dot_product_attention(others, k, v),
        )
        return self.proj(torch.cat(parts, 2).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Feed-forward block C -> 4 C -> C with GELU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = Linear(channels, 4 * channels), Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transforms the tokens (B, N, C) -> (B, N, C)."""
        return self.fc2(F.gelu(self.fc1(x)))


class SwiGLU(nn.Module):
    """Feed-forward block with a SiLU gate: C -> 2 x hidden, SiLU(first half) * second half -> C.

    The hidden width is 2/3 * 4 C, rounded up to a multiple of 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = (int(4 * channels * 2 / 3) + 7) // 8 * 8
        self.w12, self.w3 = Linear(channels, 2 * hidden), Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transforms the tokens (B, N, C) -> (B, N, C)."""
        gate, value = self.w12(x).chunk(2, -1)
        return self.w3(F.silu(gate) * value)


class LayerScale(nn.Module):
    """Learned scale of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        """Scales the tokens (B, N, C) -> (B, N, C)."""
        return x * self.gamma


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, channels: int, num_heads: int, ffn: str, key_bias: bool = True) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels, EPS), nn.LayerNorm(channels, EPS)
        self.attn = SelfAttention(channels, num_heads, key_bias)
        self.mlp = dict(mlp=Mlp, swiglu=SwiGLU)[ffn](channels)
        self.ls1, self.ls2 = LayerScale(channels), LayerScale(channels)

    def forward(self, x: Tensor, allowed: Tensor | None = None, rotation: Rotation | None = None) -> Tensor:
        """Transforms the tokens (B, N, C) -> (B, N, C); ``allowed``, ``rotation``: see :class:`SelfAttention`."""
        x = x + self.ls1(self.attn(self.norm1(x), allowed, rotation))
        return x + self.ls2(self.mlp(self.norm2(x)))


def run_blocks(
    blocks: Iterable[nn.Module], x: Tensor, allowed: Tensor | None, rotation: Rotation | None, checkpointing: bool
) -> Tensor:
    """Applies blocks to the tokens (B, N, C); with ``checkpointing``, the backward pass recomputes activations."""
    for block in blocks:
        if checkpointing and torch.is_grad_enabled():
            x = checkpoint(block, x, allowed, rotation, use_reentrant=False)
        else:
            x = block(x, allowed, rotation)
    return x


@MODELS.register_module()
class DINOv2(BaseModule):
    """DINOv2 backbone; returns the patch tokens after each stage as a map at the stride of the patches.

    Args:
        arch: ``'small'``, ``'base'``, ``'large'``, ``'giant'``, or a dict with ``channels``, ``depth``, ``num_heads``
            and ``ffn`` (``'mlp'`` or ``'swiglu'``).
        patch_size: Size of a patch in pixels; patch kernels of checkpoints with another size are resized on loading.
        table: Side length of the grid of position embeddings; those of checkpoints are resized on loading.
        registers: Number of register tokens.
        stages: Indices of the first and last block of each stage; None for four stages of equal length.
        pos_resize: Resizing of the position embeddings: ``'hub'`` by the scale factor (n + 0.1) / table, as in the
            official code (with registers: to the target size, antialiased), or ``'transformers'`` to the target size.
        align_corners: Whether to align corners when resizing patch kernels: True in DVIS++, False in ViT-Adapter.
        frozen: Whether all parameters are frozen; no activations are then stored for the backward pass.
        checkpointing: Whether to recompute activations in the backward pass.
        init_cfg: Initialisation, e.g. ``dict(type='Pretrained', checkpoint='dinov2_vitl14_pretrain.pth')``.
    """

    ARCHES: ClassVar[dict[str, dict[str, Any]]] = ARCHES

    def __init__(
        self,
        arch: str | dict[str, int | str] = 'large',
        patch_size: int = 16,
        table: int = TABLE,
        registers: int = 0,
        stages: Sequence[tuple[int, int]] | None = None,
        pos_resize: str = 'hub',
        align_corners: bool = True,
        frozen: bool = True,
        checkpointing: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(arch, str) and arch not in ARCHES:
            raise ValueError(f'arch must be {", ".join(map(repr, ARCHES))} or a dict of sizes, got {arch!r}')
        if pos_resize not in ('hub', 'transformers'):
            raise ValueError(f"pos_resize must be 'hub' or 'transformers', got {pos_resize!r}")
        sizes = ARCHES[arch] if isinstance(arch, str) else arch
        self.channels, depth = sizes['channels'], sizes['depth']
        self.patch_size, self.table, self.pos_resize, self.align_corners = patch_size, table, pos_resize, align_corners
        self.frozen, self.checkpointing = frozen, checkpointing
        self.stages = tuple(map(tuple, stages or [(k * depth // 4, (k + 1) * depth // 4 - 1) for k in range(4)]))
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, self.channels, patch_size, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.channels))
        self.mask_token = nn.Parameter(torch.zeros(1, self.channels))  # unused; kept to load official checkpoints
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + table * table, self.channels))
        self.register_tokens = nn.Parameter(torch.zeros(1, registers, self.channels)) if registers else None
        self.blocks = nn.ModuleList(Block(self.channels, sizes['num_heads'], sizes['ffn']) for _ in range(depth))
        self.norm = nn.LayerNorm(self.channels, EPS)
        for parameter in (self.pos_embed, self.cls_token):
            nn.init.trunc_normal_(parameter, std=0.02)
        self.requires_grad_(not frozen)
        self.mask_token.requires_grad_(False)
        self.register_load_state_dict_pre_hook(lambda module, state, prefix, *_: module.fit_weights(state, prefix))

    def train(self, mode: bool = True) -> 'DINOv2':
        """Sets the training mode; a frozen backbone stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embeds images as tokens.

        Args:
            images: Images (B, 3, H, W); H and W are multiples of the patch size.

        Returns:
            Tokens (B, 1 + registers + h * w, C) and the size (h, w) of the patch grid.
        """
        patches = self.patch_embed.proj(images)
        size = tuple(patches.shape[-2:])
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        x = x + self.positions(size).to(x.dtype)
        if self.register_tokens is not None:
            x = torch.cat([x[:, :1], self.register_tokens.expand(len(x), -1, -1), x[:, 1:]], 1)
        return x, size

    def positions(self, size: tuple[int, int]) -> Tensor:
        """Position embeddings (1, 1 + h * w, C) for a patch grid of size (h, w)."""
        if size == (self.table, self.table):
            return self.pos_embed
        grid = self.pos_embed[:, 1:].float().unflatten(1, (self.table, self.table)).permute(0, 3, 1, 2)
        if self.pos_resize == 'hub' and self.register_tokens is None:
            factor = tuple((length + 0.1) / self.table for length in size)
            grid = F.interpolate(grid, scale_factor=factor, mode='bicubic', align_corners=False)
        else:
            antialias = self.register_tokens is not None
            grid = F.interpolate(grid, size=size, mode='bicubic', align_corners=False, antialias=antialias)
        return torch.cat([self.pos_embed[:, :1].float(), grid.flatten(2).transpose(1, 2)], 1)

    def rotation(self, size: Sequence[int], generator: torch.Generator | None = None) -> None:
        """Positions are embedded, so tokens are not rotated; see :meth:`DINOv3.rotation`."""

    def run(
        self, x: Tensor, stage: Sequence[int], rotation: Rotation | None = None, allowed: Tensor | None = None
    ) -> Tensor:
        """Applies the blocks of a stage, given by its first and last index, to the tokens; see :class:`Block`."""
        blocks = self.blocks[stage[0] : stage[1] + 1]
        return run_blocks(blocks, x, allowed, rotation, self.checkpointing and not self.frozen)

    def tokens(self, images: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """All tokens (B, N, C) after each stage, without the final norm, and the size (h, w) of the patch grid."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            x, size = self.embed(images)
            stage_tokens = []
            for stage in self.stages:
                x = self.run(x, stage)
                stage_tokens.append(x)
        return stage_tokens, size

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps (B, C, H / patch, W / patch) of each stage for images (B, 3, H, W)."""
        stage_tokens, size = self.tokens(images)
        return [patch_map(x, size) for x in stage_tokens]

    def fit_weights(self, state: dict[str, Tensor], prefix: str) -> None:
        """Resizes the patch kernel and the position embeddings of weights with patches or a grid of another size.

        Args:
            state: Weights, changed in place.
            prefix: What the names of the weights of this module begin with.
        """
        name, size = f'{prefix}patch_embed.proj.weight', (self.patch_size, self.patch_size)
        if name in state and tuple(state[name].shape[-2:]) != size:
            state[name] = F.interpolate(
                state[name].float(), size=size, mode='bilinear', align_corners=self.align_corners
            )
        name = f'{prefix}pos_embed'
        side = math.isqrt(state[name].shape[1] - 1) if name in state else self.table
        if side != self.table and side > 0 and side * side + 1 == state[name].shape[1]:
            grid = state[name][:, 1:].float().unflatten(1, (side, side)).permute(0, 3, 1, 2)
            grid = F.interpolate(grid, size=(self.table,) * 2, mode='bicubic', align_corners=False, antialias=True)
            state[name] = torch.cat([state[name][:, :1].float(), grid.flatten(2).transpose(1, 2)], 1)
