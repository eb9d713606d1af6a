"""DINOv3 (arXiv:2508.10104): a plain vision transformer with rotary position embeddings."""

import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdvis.registry import MODELS

from .dinov2 import EPS, Block, Rotation, run_blocks

ARCHES = dict(
    small=dict(channels=384, depth=12, num_heads=6),
    base=dict(channels=768, depth=12, num_heads=12),
    large=dict(channels=1024, depth=24, num_heads=16),
)
UNUSED = ('mask_token', 'embeddings.mask_token', 'rope_embed.periods')
NAMES = (  # those of transformers and of the official files
    (r'embeddings\.(cls_token|register_tokens)', r'\1'),
    (r'embeddings\.patch_embeddings\.', 'patch_embed.proj.'),
    (r'storage_tokens', 'register_tokens'),
    (r'(?:model\.)?layer\.', 'blocks.'),
    (r'(blocks\.\d+)\.attention\.o_proj\.', r'\1.attn.proj.'),
    (r'(blocks\.\d+)\.attention\.q_proj\.bias', r'\1.attn.qkv.query_bias'),
    (r'(blocks\.\d+)\.attention\.v_proj\.bias', r'\1.attn.qkv.value_bias'),
    (r'(blocks\.\d+)\.layer_scale([12])\.lambda1', r'\1.ls\2.gamma'),
    (r'(blocks\.\d+)\.mlp\.up_proj\.', r'\1.mlp.fc1.'),
    (r'(blocks\.\d+)\.mlp\.down_proj\.', r'\1.mlp.fc2.'),
)
LONGEST_PERIOD = 100.0  # of the rotations, relative to the shortest one


@MODELS.register_module()
class DINOv3(BaseModule):
    """DINOv3 backbone for segmenters that work on tokens, such as :class:`EoMTSegmenter`.

    Patches are rotated by their relative position in the image, so images can have any size. In training, all positions
    are multiplied by a random factor. The epsilon of the norms is 1e-6, as in EoMT; DINOv3 of transformers has 1e-5.

    Args:
        arch: ``'small'``, ``'base'``, ``'large'``, or a dict with ``channels``, ``depth`` and ``num_heads``.
        patch_size: Size of a patch in pixels.
        registers: Number of register tokens.
        rescale: The random factor is log-uniform between 1 / rescale and rescale; 1 for none.
        checkpointing: Whether to recompute activations in the backward pass.
        init_cfg: Initialisation, e.g. ``dict(type='Pretrained', checkpoint='dinov3_vitl16_pretrain.pth')``; the names
            of the official files and of transformers are known.

    Raises:
        ValueError: The architecture is unknown, or the width of a head is not a multiple of 4.
    """

    ARCHES: ClassVar[dict[str, dict[str, Any]]] = ARCHES

    def __init__(
        self,
        arch: str | dict[str, int] = 'large',
        patch_size: int = 16,
        registers: int = 4,
        rescale: float = 2.0,
        checkpointing: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(arch, str) and arch not in ARCHES:
            raise ValueError(f'arch must be {", ".join(map(repr, ARCHES))} or a dict of sizes, got {arch!r}')
        sizes = ARCHES[arch] if isinstance(arch, str) else arch
        self.channels, num_heads = sizes['channels'], sizes['num_heads']
        if self.channels % (4 * num_heads):
            raise ValueError(
                f'the width of a head must be a multiple of 4, got {self.channels} channels and {num_heads} heads'
            )
        if rescale < 1:
            raise ValueError(f'rescale must be at least 1, got {rescale}')
        self.head_width, self.patch_size, self.rescale = self.channels // num_heads, patch_size, rescale
        self.checkpointing = checkpointing
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, self.channels, patch_size, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.channels))
        self.register_tokens = nn.Parameter(torch.zeros(1, registers, self.channels))
        self.blocks = nn.ModuleList(
            Block(self.channels, num_heads, 'mlp', key_bias=False) for _ in range(sizes['depth'])
        )
        self.norm = nn.LayerNorm(self.channels, EPS)
        for parameter in (self.cls_token, self.register_tokens):
            nn.init.trunc_normal_(parameter, std=0.02)
        self.register_load_state_dict_pre_hook(rename_weights)

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embeds images as tokens.

        Args:
            images: Images (B, 3, H, W); H and W are multiples of the patch size.

        Returns:
            Tokens (B, 1 + registers + h * w, C) and the size (h, w) of the patch grid.
        """
        patches = self.patch_embed.proj(images)
        first = torch.cat([self.cls_token, self.register_tokens], 1).to(patches.dtype)
        tokens = patches.flatten(2).transpose(1, 2)
        return torch.cat([first.expand(len(tokens), -1, -1), tokens], 1), (patches.shape[2], patches.shape[3])

    def rotation(self, size: Sequence[int], generator: torch.Generator | None = None) -> Rotation:
        """Rotations of the patches of an image.

        The centres of the patches lie in (-1, 1) in y and x. A quarter of the channels of a head has the angles
        ``2 pi y f_k``, the next quarter ``2 pi x f_k``, with ``f_k = 100 ** (-4 k / d)`` for heads of width d.

        Args:
            size: (h, w) of the patch grid.
            generator: Draws the random factor; on the CPU. None outside of training, without such a factor.
        """
        device = self.cls_token.device
        axes = [2 * (torch.arange(length, device=device) + 0.5) / length - 1 for length in size]
        centres = torch.stack(torch.meshgrid(*axes, indexing='ij'), -1).flatten(0, 1)  # (h * w, 2)
        if generator is not None and self.rescale > 1:
            share = 2 * torch.rand((), generator=generator).item() - 1
            centres = centres * self.rescale**share
        exponents = torch.arange(self.head_width // 4, device=device) * (4 / self.head_width)
        angles = 2 * math.pi * centres[..., None] * LONGEST_PERIOD**-exponents
        angles = angles.flatten(1).repeat(1, 2)  # (h * w, d)
        return angles.cos(), angles.sin()

    def run(
        self, x: Tensor, stage: Sequence[int], rotation: Rotation | None = None, allowed: Tensor | None = None
    ) -> Tensor:
        """Applies the blocks of a stage, given by its first and last index, to the tokens; see :class:`Block`."""
        return run_blocks(self.blocks[stage[0] : stage[1] + 1], x, allowed, rotation, self.checkpointing)


def rename_weights(module: DINOv3, state: dict[str, Tensor], prefix: str, *rest: object) -> None:
    """Gives the weights of official files and of transformers the names of mmdvis; keys have no bias."""
    own = {name.removeprefix(prefix): state.pop(name) for name in list(state) if name.startswith(prefix)}
    for name in [name for name in own if name in UNUSED or name.endswith('.qkv.bias_mask')]:
        del own[name]
    for name in [name for name in own if name.endswith('.attn.qkv.bias')]:
        query, _, value = own.pop(name).chunk(3)
        own.update({name.replace('.bias', '.query_bias'): query, name.replace('.bias', '.value_bias'): value})
    for name in [name for name in own if name.endswith('.attention.q_proj.weight')]:
        parts = [own.pop(name.replace('q_proj', part)) for part in ('q_proj', 'k_proj', 'v_proj')]
        own[name.replace('attention.q_proj', 'attn.qkv')] = torch.cat(parts)
    for name, tensor in own.items():
        for pattern, replacement in NAMES:
            name = re.sub(f'^{pattern}', replacement, name)
        state[prefix + name] = tensor
