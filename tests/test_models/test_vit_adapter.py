"""ViT-Adapter and its variant with the MRFP of ViT-CoMer."""

import pytest
import torch
import torch.nn.functional as F
from helpers.commands import count_calls
from helpers.tiny_backbones import VIT, adapter
from torch import nn

from mmdvis.models.backbones import vit_adapter
from mmdvis.models.backbones.vit_adapter import MRFP, join_levels, split_levels


@pytest.mark.parametrize('size', ((64, 96), (50, 70), (33, 64)))
@pytest.mark.parametrize('mrfp', (None, dict(ratio=0.5)))
def test_maps_of_any_size(size, mrfp):
    maps = adapter(mrfp=mrfp).eval()(torch.randn(2, 3, *size))
    assert [tuple(x.shape) for x in maps] == [(2, 48, -(-size[0] // s), -(-size[1] // s)) for s in (4, 8, 16, 32)]


def test_padding_is_what_the_model_sees_anyway():
    model, images = adapter().eval(), torch.randn(1, 3, 50, 70)
    with torch.no_grad():
        features, whole = model(images), model(nn.functional.pad(images, (0, 26, 0, 14)))
    assert all(torch.equal(a, b[..., : a.shape[-2], : a.shape[-1]]) for a, b in zip(features, whole))


@pytest.mark.parametrize('mrfp', (None, dict()))
def test_every_part_of_the_adapter_learns_and_nothing_else(mrfp):
    model = adapter(mrfp=mrfp).train()
    for name, parameter in model.named_parameters():
        # zero weights would block the gradients of earlier layers
        if 'sampling_offsets' in name or 'attention_weights' in name:
            nn.init.normal_(parameter, std=0.05)
    sum(x.square().mean() for x in model(torch.randn(2, 3, 64, 64))).backward()
    assert not [
        name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert not any(p.grad is not None for p in model.vit_module.parameters())


def test_checkpointing_of_extractors_changes_nothing(monkeypatch):
    images, gradients, calls = torch.randn(1, 3, 64, 64), [], count_calls(monkeypatch, vit_adapter, 'checkpoint')
    for on in (False, True):
        model = adapter(checkpointing=on, norm_cfg=dict(type='GN', num_groups=4)).train()
        sum(x.square().mean() for x in model(images)).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        assert len(calls) == (4 + 2 if on else 0)  # four stages and two additional extractors
    assert gradients[0].keys() == gradients[1].keys() and all(
        torch.allclose(gradients[0][k], gradients[1][k], atol=1e-5) for k in gradients[0]
    )


def test_sampling_keeps_its_precision_under_autocast():
    model, images, dtypes = adapter().eval(), torch.randn(1, 3, 64, 64), []
    model.interactions[0].extractor.attn.register_forward_pre_hook(lambda module, given: dtypes.append(given[0].dtype))
    with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
        model(images)
    assert dtypes == [torch.float32]


def test_levels_are_split_and_joined():
    shapes = [(8, 12), (4, 6), (2, 3)]
    tokens = torch.randn(2, 96 + 24 + 6, 5)
    assert torch.equal(join_levels(split_levels(tokens, shapes)), tokens)
    for map_of_one, map_of_two in zip(split_levels(tokens[:1], shapes), split_levels(tokens, shapes)):
        assert torch.equal(map_of_one[0], map_of_two[0])
        larger = F.interpolate(map_of_one, scale_factor=2.0, mode='bilinear')
        assert larger.is_contiguous(memory_format=torch.channels_last)


def test_mrfp_by_hand():
    """Per level: half of the hidden channels use a 3 x 3 convolution, half 5 x 5, then norm and GELU; with residual."""
    torch.manual_seed(0)
    module, shapes = MRFP(8, 0.5).eval(), [(4, 4), (2, 2), (1, 1)]
    x = torch.randn(1, 21, 8)
    hidden, start, parts = module.fc1(x), 0, []
    for k, (h, w) in enumerate(shapes):
        level = hidden[:, start : start + h * w].transpose(1, 2).reshape(1, 4, h, w)
        both = torch.cat([module.small[k](level[:, :2]), module.large[k](level[:, 2:])], 1)
        parts.append(nn.functional.gelu(module.norms[k](both)).flatten(2).transpose(1, 2))
        start += h * w
    expected = module.fc2(nn.functional.gelu(torch.cat(parts, 1)))
    assert torch.allclose(module(x, shapes), x + expected, atol=1e-6)
    module.residual = False
    assert torch.allclose(module(x, shapes), expected, atol=1e-6)


@pytest.mark.parametrize('size', [(840, 840), (630, 1120), (64, 96)], ids=str)
@pytest.mark.parametrize('patch', [14, 16])
def test_patches_cover_the_area_of_the_maps(size, patch, monkeypatch):
    model = adapter(vit=dict(VIT, patch_size=patch)).eval()
    grids = []

    def tokens(images):
        grids.append((tuple(images.shape[-2:]), tuple(length // patch for length in images.shape[-2:])))
        return [torch.zeros(1, grids[0][1][0] * grids[0][1][1], 48)] * 4, grids[0][1]

    monkeypatch.setattr(model.vit_module, 'tokens', tokens)
    with torch.no_grad():
        maps = model(torch.zeros(1, 3, *size))
    ((padded, grid),) = grids
    assert tuple(patch * cells for cells in grid) == padded  # no pixel is outside the patches
    assert all(length % 32 == 0 for length in padded)  # nor outside the maps
    assert [tuple(x.shape[-2:]) for x in maps] == [tuple(-(-length // s) for length in size) for s in (4, 8, 16, 32)]
