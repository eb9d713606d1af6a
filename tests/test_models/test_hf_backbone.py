"""Models of the transformers library as backbones."""

import pytest
import torch
from helpers.tiny_backbones import adapter

from mmdvis.models.backbones import HFBackbone
from mmdvis.models.backbones.hf_backbone import pyramid
from mmdvis.registry import MODELS

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
        assert model.model.is_gradient_checkpointing is on
        model(images)[0].square().mean().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1])
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
