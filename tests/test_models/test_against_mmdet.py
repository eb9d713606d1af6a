"""The segmenter compared with Mask2Former of mmdet, an implementation with the same parameter names."""

from types import SimpleNamespace

import pytest
import torch
from helpers import tiny
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from pycocotools import mask as coco_mask

from mmdvis.models.layers.pixel_decoder import PixelDecoder
from mmdvis.models.postprocessors import InstancePostprocessor
from mmdvis.registry import MODELS
from mmdvis.structures import StepContext, VideoPrediction

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
    theirs.load_state_dict(ours.state_dict())  # strict, because the names are the same
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


def test_a_neck_of_mmdet_fits_in_front():
    neck = dict(type='mmdet.FPN', in_channels=[8, 16, 32, 64], out_channels=12, num_outs=4)
    segmenter = MODELS.build(dict(tiny.SEGMENTER, neck=neck, in_channels=(12,) * 4)).train()
    losses = segmenter.loss(torch.randn(1, 1, 3, 64, 96), [tiny.targets(1)], StepContext())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in segmenter.neck.lateral_convs.parameters())


def test_the_pixel_decoder_of_mmdet_takes_the_place_of_ours():
    """Its parameters have the same names, so the weights fit and the outputs agree."""
    attention = dict(embed_dims=16, num_heads=2, num_levels=3, num_points=4, dropout=0.0, batch_first=True)
    ffn = dict(embed_dims=16, feedforward_channels=24, num_fcs=2, ffn_drop=0.0)
    encoder = dict(num_layers=1, layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn))
    decoder = dict(
        type='mmdet.MSDeformAttnPixelDecoder',
        encoder=encoder,
        norm_cfg=dict(type='GN', num_groups=4),
        positional_encoding=dict(num_feats=8, normalize=True),
    )
    theirs = MODELS.build(ConfigDict(dict(tiny.SEGMENTER, pixel_decoder=decoder))).eval()
    ours = MODELS.build(tiny.SEGMENTER).eval()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    frames = torch.randn(1, 2, 3, 64, 96)
    with torch.no_grad():
        expected, queries = ours(frames), theirs(frames)
    torch.testing.assert_close(queries.mask_features, expected.mask_features, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(queries.class_logits, expected.class_logits, atol=1e-3, rtol=1e-3)


def test_losses_of_mmdet_take_the_place_of_ours():
    plugins = dict(
        mask=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True),
        dice=dict(type='mmdet.DiceLoss', use_sigmoid=True, activate=True, naive_dice=True, eps=1.0),
    )
    segmenter = MODELS.build(tiny.SEGMENTER)
    states, features = segmenter.decode(torch.randn(1, 1, 3, 64, 96))
    results = []
    for options in ({}, dict(plugins=plugins)):
        criterion = MODELS.build(dict(tiny.LOSS, matching='frame', num_classes=tiny.CLASSES, **options))
        results.append(criterion(segmenter.predict(states, features), [tiny.targets(1)], StepContext()))
    assert results[0].keys() == results[1].keys()
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, atol=1e-5, rtol=1e-5)


def test_a_detector_is_built_whatever_the_default_scope_is():
    config = dict(
        type='mmdvis.DVIS',
        num_classes=tiny.CLASSES,
        segmenter=tiny.SEGMENTER,
        tracker=tiny.TRACKERS['dvis'],
        refiner=tiny.REFINER,
        postprocessor=tiny.PANOPTIC,
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        from mmdet.registry import MODELS as mmdet_models

        model = mmdet_models.build(config)
    assert model.parts() == ['segmenter', 'tracker', 'refiner'] and model.trainable == ('refiner',)


def test_mask_scores_of_images_are_those_of_mmdet():
    """COCO mask AP ranks by class score times mean mask probability."""
    from mmdet.models.seg_heads.panoptic_fusion_heads import MaskFormerFusionHead

    generator = torch.Generator().manual_seed(0)
    logits, masks = (torch.randn(*shape, generator=generator) for shape in ((9, 6), (9, 20, 30)))
    head = MaskFormerFusionHead(num_things_classes=5, num_stuff_classes=0, test_cfg=dict(max_per_image=12))
    expected = head.instance_postprocess(logits, masks)
    scores, order = expected.scores.sort(descending=True)
    source = SimpleNamespace(logits=lambda rows, frame: masks[rows])
    prediction = VideoPrediction(torch.arange(9), logits.softmax(-1), torch.ones(1, 9, dtype=torch.bool), source)
    result = InstancePostprocessor(12, mask_scores=True)(prediction)
    torch.testing.assert_close(result.scores, scores)
    assert torch.equal(result.labels, expected.labels[order])
    decoded = torch.stack([torch.from_numpy(coco_mask.decode(dict(track[0]))).bool() for track in result.masks])
    assert torch.equal(decoded, expected.masks[order])
    plain = InstancePostprocessor(12)(prediction)
    assert not torch.equal(plain.scores, result.scores) and plain.scores.tolist() == sorted(
        plain.scores.tolist(), reverse=True
    )
