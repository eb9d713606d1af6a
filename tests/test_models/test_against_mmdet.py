"""The segmenter against mmdet's Mask2Former, a second implementation with the same parameter names."""

import pytest
import torch
from helpers import tiny
from mmengine.config import ConfigDict

from mmdvis.models.layers.pixel_decoder import PixelDecoder
from mmdvis.registry import MODELS

CHANNELS, GROUPS = (8, 16, 32, 64), 4
PIXEL = dict(
    type='mmdet.MSDeformAttnPixelDecoder',
    num_outs=3,
    norm_cfg=dict(type='GN', num_groups=GROUPS),
    act_cfg=dict(type='ReLU'),
    encoder=dict(
        num_layers=2,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=16, num_heads=2, num_levels=3, num_points=4, dropout=0.0, batch_first=True),
            ffn_cfg=dict(
                embed_dims=16, feedforward_channels=24, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU', inplace=True)
            ),
        ),
    ),
    positional_encoding=dict(num_feats=8, normalize=True),
)
ATTENTION = dict(embed_dims=16, num_heads=2, dropout=0.0, batch_first=True)
HEAD = ConfigDict(
    type='mmdet.Mask2FormerHead',
    in_channels=list(CHANNELS),
    strides=[4, 8, 16, 32],
    feat_channels=16,
    out_channels=16,
    num_things_classes=3,
    num_stuff_classes=2,
    num_queries=7,
    num_transformer_feat_level=3,
    pixel_decoder=dict(PIXEL.items()),
    enforce_decoder_input_project=False,
    positional_encoding=dict(num_feats=8, normalize=True),
    transformer_decoder=dict(
        return_intermediate=True,
        num_layers=3,
        init_cfg=None,
        layer_cfg=dict(
            self_attn_cfg=ATTENTION,
            cross_attn_cfg=ATTENTION,
            ffn_cfg=dict(
                embed_dims=16, feedforward_channels=24, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type='ReLU', inplace=True)
            ),
        ),
    ),
    loss_cls=dict(type='mmdet.CrossEntropyLoss', class_weight=[1.0] * 5 + [0.1]),
    loss_mask=dict(type='mmdet.CrossEntropyLoss'),
    loss_dice=dict(type='mmdet.DiceLoss'),
)


def features(size=(64, 96), batch=2):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(batch, c, size[0] // s, size[1] // s, generator=g) for c, s in zip(CHANNELS, (4, 8, 16, 32))]


@pytest.fixture
def mmdet_scope():
    """mmdet builds its nested parts without a prefix."""
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@torch.no_grad()
def test_the_pixel_decoder_equals_mmdets(mmdet_scope):
    torch.manual_seed(0)
    ours = PixelDecoder(CHANNELS, 16, 16, num_layers=2, num_heads=2, ffn_channels=24, norm_groups=GROUPS).eval()
    for parameter in ours.parameters():
        parameter.normal_(0, 0.2)
    theirs = MODELS.build(
        ConfigDict(PIXEL, in_channels=list(CHANNELS), strides=[4, 8, 16, 32], feat_channels=16, out_channels=16)
    ).eval()
    theirs.load_state_dict(ours.state_dict())  # strict: the names are the same
    mask_features, memories = ours(features())
    expected_features, expected = theirs(features())
    torch.testing.assert_close(mask_features, expected_features, atol=1e-4, rtol=1e-3)
    for memory, other in zip(memories, expected):
        torch.testing.assert_close(memory, other, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_the_segmenter_equals_mmdets_head(mmdet_scope):
    torch.manual_seed(0)
    config = dict(
        tiny.SEGMENTER,
        loss=None,
        backbone=dict(tiny.SEGMENTER['backbone']),
        pixel_decoder=dict(tiny.SEGMENTER['pixel_decoder'], num_layers=2),
    )
    ours, theirs = MODELS.build(dict(config, type='mmdvis.Mask2FormerSegmenter')).eval(), MODELS.build(HEAD).eval()
    weights = {k: v for k, v in ours.state_dict().items() if not k.startswith('backbone.')}
    report = theirs.load_state_dict(weights, strict=False)
    assert not report.unexpected_keys and not report.missing_keys, report
    frames = torch.randn(1, 2, 3, 64, 96)
    queries = ours(frames)
    classes, masks = theirs(ours.backbone(frames[0]), [None, None])
    torch.testing.assert_close(queries.class_logits[0], classes[-1], atol=1e-4, rtol=1e-3)
    dense = torch.einsum('tqm,tmhw->tqhw', queries.mask_embeds[0], queries.mask_features[0])
    torch.testing.assert_close(dense, masks[-1], atol=1e-3, rtol=1e-3)
