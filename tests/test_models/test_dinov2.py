"""DINOv2: equality with transformers, loading, freezing and checkpointing."""

import pytest
import torch
from helpers.commands import count_calls
from helpers.tiny_backbones import TINY, VIT
from torch import nn

from mmdvis.models.backbones import DINOv2, ViTAdapter, dinov2
from mmdvis.registry import MODELS

NAMES = {
    'cls_token': 'embeddings.cls_token',
    'mask_token': 'embeddings.mask_token',
    'pos_embed': 'embeddings.position_embeddings',
    'register_tokens': 'embeddings.register_tokens',
    'norm.': 'layernorm.',
    'patch_embed.proj.': 'embeddings.patch_embeddings.projection.',
}
BLOCK = {
    'norm1.': 'norm1.',
    'norm2.': 'norm2.',
    'attn.proj.': 'attention.o_proj.',
    'ls1.gamma': 'layer_scale1.lambda1',
    'ls2.gamma': 'layer_scale2.lambda1',
    'mlp.fc1.': 'mlp.fc1.',
    'mlp.fc2.': 'mlp.fc2.',
    'mlp.w3.': 'mlp.down_proj.',
}
JOINED = {'attn.qkv': [f'attention.{part}_proj' for part in 'qkv'], 'mlp.w12': ['mlp.gate_proj', 'mlp.up_proj']}


def vit(**options):
    torch.manual_seed(0)
    model = MODELS.build(dict(VIT, **options))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.05)
    return model.eval()


def from_transformers(theirs):
    """Return the weights of a transformers DINOv2 with the names of the original release, which mmdvis uses."""
    state, weights = theirs.state_dict(), {}
    for ours, name in NAMES.items():
        weights.update({key.replace(name, ours): value for key, value in state.items() if key.startswith(name)})
    for k in range(theirs.config.num_hidden_layers):
        prefix = f'encoder.layer.{k}.'
        for ours, name in BLOCK.items():
            weights.update(
                {
                    f'blocks.{k}.{key[len(prefix) :].replace(name, ours)}': value
                    for key, value in state.items()
                    if key.startswith(prefix + name)
                }
            )
        for kind in ('weight', 'bias'):
            for ours, parts in JOINED.items():
                if f'{prefix}{parts[0]}.{kind}' in state:
                    weights[f'blocks.{k}.{ours}.{kind}'] = torch.cat(
                        [state[f'{prefix}{part}.{kind}'] for part in parts]
                    )
    return weights


@pytest.mark.parametrize(
    'arch, channels, heads, registers',
    [('small', 384, 6, 0), ('base', 768, 12, 0), ('large', 1024, 16, 0), ('giant', 1536, 24, 0), ('small', 384, 6, 4)],
)
def test_equal_to_transformers(arch, channels, heads, registers):
    """Two blocks of each architecture agree, at the size of the position table and at other sizes."""
    import transformers

    kind = 'Dinov2WithRegisters' if registers else 'Dinov2'
    options = dict(
        hidden_size=channels,
        num_hidden_layers=2,
        num_attention_heads=heads,
        image_size=80,
        patch_size=16,
        use_swiglu_ffn=arch == 'giant',
        layerscale_value=0.3,
    )
    torch.manual_seed(0)
    theirs = getattr(transformers, f'{kind}Model')(
        getattr(transformers, f'{kind}Config')(**options, **(dict(num_register_tokens=registers) if registers else {}))
    ).eval()
    nn.init.normal_(theirs.embeddings.position_embeddings, std=0.5)
    ours = DINOv2(
        dict(channels=channels, depth=2, num_heads=heads, ffn='swiglu' if arch == 'giant' else 'mlp'),
        table=5,
        registers=registers,
        stages=[(0, 0), (1, 1)],
        pos_resize='transformers',
    ).eval()
    ours.load_state_dict(from_transformers(theirs))
    hub = DINOv2(
        dict(channels=channels, depth=2, num_heads=heads, ffn='swiglu' if arch == 'giant' else 'mlp'),
        table=5,
        registers=registers,
        stages=[(0, 0), (1, 1)],
    ).eval()
    hub.load_state_dict(ours.state_dict())
    for size in ((80, 80), (96, 160), (48, 64)):
        images = torch.randn(1, 3, *size)
        with torch.no_grad():
            expected = theirs(images, output_hidden_states=True)
            tokens, _ = ours.tokens(images)
            torch.testing.assert_close(tokens[0], expected.hidden_states[1], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(ours.norm(tokens[1]), expected.last_hidden_state, atol=1e-5, rtol=1e-4)
            same = torch.allclose(hub.tokens(images)[0][1], tokens[1], atol=1e-6)
        assert same == (size == (80, 80) or registers > 0)  # the default resizing rule differs at other sizes only


@pytest.mark.parametrize(
    'arch, heads, transformer, adapter',
    [('large', 16, 304_552_960, 22_948_800), ('giant', 24, 1_136_757_248, 49_732_352)],
)
def test_parameters_of_the_large_ones(arch, heads, transformer, adapter):
    with torch.device('meta'):
        model = ViTAdapter(dict(type='DINOv2', arch=arch), num_heads=heads)
    number = sum(p.numel() for p in model.vit_module.parameters())
    assert (number, sum(p.numel() for p in model.parameters()) - number) == (transformer, adapter)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable == adapter  # the transformer is frozen


def test_a_kernel_of_other_patches_is_resized():
    source, kinds = vit(patch_size=14).state_dict(), {}
    for align in (True, False):
        model = vit(align_corners=align)
        model.load_state_dict(dict(source))
        kernel = model.patch_embed.proj.weight
        assert kernel.shape == (48, 3, 16, 16)
        assert torch.equal(
            kernel,
            nn.functional.interpolate(
                source['patch_embed.proj.weight'], size=(16, 16), mode='bilinear', align_corners=align
            ),
        )
        kinds[align] = kernel
    assert not torch.equal(kinds[True], kinds[False])


def test_a_hub_file_loads_by_its_own_names(tmp_path):
    source = vit(patch_size=14, arch=dict(TINY, ffn='swiglu'))
    torch.save(source.state_dict(), tmp_path / 'dinov2.pth')
    model = MODELS.build(
        dict(
            VIT,
            arch=dict(TINY, ffn='swiglu'),
            init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'dinov2.pth')),
        )
    )
    model.init_weights()
    assert torch.equal(model.blocks[3].mlp.w12.weight, source.blocks[3].mlp.w12.weight)
    assert model.patch_embed.proj.weight.shape[-1] == 16


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(arch='huge'), "arch must be 'small', 'base', 'large', 'giant' or a dict of sizes, got 'huge'"),
        (dict(pos_resize='bilinear'), "pos_resize must be 'hub' or 'transformers'"),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(VIT, **options))


def test_frozen_and_learning():
    images = torch.randn(1, 3, 64, 64)
    frozen = vit().train()
    assert not frozen.training and not any(x.requires_grad for x in frozen(images))
    learning = vit(frozen=False).train()
    assert learning.training and learning(images)[0].requires_grad


def test_checkpointing_changes_no_gradient(monkeypatch):
    images, gradients, calls = torch.randn(1, 3, 64, 96), [], count_calls(monkeypatch, dinov2, 'checkpoint')
    for on in (False, True):
        model = vit(frozen=False, checkpointing=on)
        sum(x.square().mean() for x in model(images)).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
        assert len(calls) == (TINY['depth'] if on else 0)  # once for each block
    assert len(gradients[0]) == len(gradients[1])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients)) and len(gradients[0]) > 40
