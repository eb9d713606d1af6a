"""Backbones: DINOv2, ViT-Adapter and models of the transformers library."""

import pytest
import torch
from torch import nn

from mmdvis.models.backbones import DINOv2, HFBackbone, ViTAdapter
from mmdvis.models.backbones.hf_backbone import pyramid
from mmdvis.models.backbones.vit_adapter import MRFP, join_levels, split_levels
from mmdvis.registry import MODELS

TINY = dict(channels=48, depth=4, num_heads=4, ffn='mlp')
VIT = dict(type='DINOv2', arch=TINY, table=4)
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


def test_checkpointing_changes_no_gradient():
    images, gradients = torch.randn(1, 3, 64, 96), []
    for on in (False, True):
        model = vit(frozen=False, checkpointing=on)
        sum(x.square().mean() for x in model(images)).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients)) and len(gradients[0]) > 40


def adapter(**options):
    torch.manual_seed(0)
    return MODELS.build(dict(dict(type='ViTAdapter', vit=VIT, num_heads=4, prior_channels=16), **options))


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


def test_checkpointing_of_extractors_changes_nothing():
    images, gradients = torch.randn(1, 3, 64, 64), []
    for on in (False, True):
        model = adapter(checkpointing=on, norm_cfg=dict(type='GN', num_groups=4)).train()
        sum(x.square().mean() for x in model(images)).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
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


DINOV3 = dict(
    model_type='dinov3_vit',
    hidden_size=48,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=96,
    num_register_tokens=4,
    patch_size=16,
    image_size=64,
)
SWINV2 = dict(
    model_type='swinv2', image_size=64, embed_dim=24, depths=[1, 1, 1, 1], num_heads=[2, 2, 4, 4], window_size=4
)
MOBILE = dict(model_type='mobilevitv2', image_size=64, width_multiplier=0.5)


@pytest.mark.parametrize('config', (SWINV2, MOBILE), ids=lambda c: c['model_type'])
def test_a_pyramid_of_transformers(config):
    model = MODELS.build(dict(type='HFBackbone', config=config)).train()
    maps = model(torch.randn(2, 3, 64, 96))
    assert [tuple(x.shape[-2:]) for x in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    sum(x.square().mean() for x in maps).backward()
    assert sum(p.grad is not None for p in model.parameters()) > 0.8 * len(list(model.parameters()))


def test_tokens_of_transformers_feed_an_adapter():
    vit = dict(type='HFBackbone', config=DINOV3, stages=[(0, 0), (1, 1), (2, 2), (3, 3)], frozen=True)
    model = adapter(vit=vit).train()
    assert not model.vit_module.training
    assert [tuple(x.shape) for x in model(torch.randn(1, 3, 64, 96))] == [
        (1, 48, 16, 24),
        (1, 48, 8, 12),
        (1, 48, 4, 6),
        (1, 48, 2, 3),
    ]
    tokens, size = model.vit_module.tokens(torch.randn(1, 3, 64, 96))
    assert size == (4, 6) and tokens[0].shape == (1, 1 + 4 + 24, 48) and not tokens[0].requires_grad


def test_tokens_are_what_the_blocks_give():
    model = HFBackbone(
        config=dict(DINOV3, model_type='dinov2', num_register_tokens=None), stages=[(0, 1), (2, 3)]
    ).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        tokens, _ = model.tokens(images)
        assert not any(module._forward_hooks for module in model.modules())
        hidden = model.model(images, output_hidden_states=True).hidden_states
    assert torch.equal(tokens[0], hidden[2]) and torch.equal(tokens[1], hidden[4])


def test_weights_from_a_local_folder(tmp_path):
    model = HFBackbone(config=SWINV2)
    model.model.save_pretrained(tmp_path)
    again = HFBackbone(str(tmp_path), local_only=True)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))


def test_checkpointing_of_transformers(tmp_path):
    images, gradients = torch.randn(1, 3, 64, 64), []
    HFBackbone(config=dict(DINOV3, pos_embed_rescale=None), stages=[(0, 3)]).model.save_pretrained(tmp_path)
    for on in (False, True):
        model = HFBackbone(str(tmp_path), stages=[(0, 3)], checkpointing=on, local_only=True).train()
        model(images)[0].square().mean().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients)) and len(gradients[0]) > 20


def test_the_last_map_of_each_stride_is_selected():
    sizes = (32, 32, 16, 8, 8, 8, 4)
    maps = [torch.full((1, 1, size, size), float(number)) for number, size in enumerate(sizes)]
    tokens = torch.zeros(1, 16, 3)
    assert [int(x[0, 0, 0, 0]) for x in pyramid([tokens, *maps], (128, 128), 'model')] == [1, 2, 5, 6]
    with pytest.raises(ValueError, match='at strides .* but not at \\[32\\]'):
        pyramid(maps[:-1], (128, 128), 'model')


INTERNVIT = dict(
    model_type='internvl_vision',
    hidden_size=48,
    num_hidden_layers=4,
    num_attention_heads=4,
    intermediate_size=96,
    image_size=[56, 56],
    patch_size=[14, 14],
)


def test_tokens_of_internvit():
    stages = [(0, 0), (1, 1), (2, 2), (3, 3)]
    model = HFBackbone(config=INTERNVIT, stages=stages).eval()
    images = torch.randn(1, 3, 56, 84)
    with torch.no_grad():
        tokens, size = model.tokens(images)
        hidden = model.model(images, output_hidden_states=True).hidden_states
    assert size == (4, 6) and model.patch_size == 14
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(tokens, hidden[1:]))
    maps = adapter(vit=dict(type='HFBackbone', config=INTERNVIT, stages=stages))(torch.randn(1, 3, 60, 90))
    assert [tuple(x.shape[-2:]) for x in maps] == [(15, 23), (8, 12), (4, 6), (2, 3)]


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


@pytest.mark.parametrize(
    'options, error, message',
    [
        (
            dict(name='nobody/nothing', local_only=True),
            OSError,
            "'nobody/nothing' is neither a local folder .* nor could it be",
        ),
        (dict(), ValueError, "needs config=dict\\(model_type='...'"),
        (dict(config=DINOV3, stages=[(0, 8)]), ValueError, 'stages must be pairs of first and last block, from 0 to 3'),
        (dict(config=MOBILE, stages=[(0, 1)]), ValueError, 'is not a plain transformer|has no list of'),
    ],
)
def test_backbones_that_cannot_be_had(options, error, message):
    with pytest.raises(error, match=message):
        HFBackbone(**options)


def test_a_plain_transformer_is_no_pyramid():
    with pytest.raises(
        ValueError, match='a pyramid needs 4, 8, 16 and 32; use a plain transformer with stages in ViTAdapter'
    ):
        HFBackbone(
            config=dict(
                model_type='vit',
                hidden_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=96,
                image_size=64,
            )
        )(torch.randn(1, 3, 64, 64))
