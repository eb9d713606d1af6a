"""Small backbones for tests."""

import torch

from mmdvis.registry import MODELS

TINY = dict(channels=48, depth=4, num_heads=4, ffn='mlp')
VIT = dict(type='DINOv2', arch=TINY, table=4)


def adapter(**options):
    """Build a ViT-Adapter with 48 channels."""
    torch.manual_seed(0)
    return MODELS.build(dict(dict(type='ViTAdapter', vit=VIT, num_heads=4, prior_channels=16), **options))
