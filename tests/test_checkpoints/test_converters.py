"""Names and shapes of converted weights."""

import math
import pickle
from pathlib import Path
from unittest import mock

import mmdet
import numpy as np
import pytest
import torch
from helpers import official_weights as official
from helpers.commands import ROOT
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmdvis.checkpoints import Checkpoint, load_weights, plan_loading, read_checkpoint, state_dict_of
from mmdvis.checkpoints.converters import convert_detectron2, convert_mmdet, reorder_patch_merging
from mmdvis.checkpoints.loading import RECOMPUTED_BUFFERS
from mmdvis.registry import MODELS
from mmdvis.testing.parity.comparison import dense_masks

CONFIGS = ROOT / 'configs'


def test_patch_merging_is_reordered():
    """Patch merging of Swin with the original weight equals mmdet's unfold with the reordered weight."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 4, 6), torch.randn(6, 12)  # (N, c, H, W), (2c, 4c)
    corners = [x[:, :, i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
    expected = torch.cat(corners, 1).flatten(2).transpose(1, 2) @ weight.T
    ours = torch.nn.functional.unfold(x, 2, stride=2).transpose(1, 2) @ reorder_patch_merging(weight).T
    torch.testing.assert_close(ours, expected)
    vector = torch.arange(12.0)
    assert torch.equal(reorder_patch_merging(vector), reorder_patch_merging(vector[None].expand(2, -1))[0])


def test_unknown_names_are_left_over_and_constants_dropped():
    result = convert_detectron2(
        {'tracker.decoder_norm.weight': torch.ones(2), 'criterion.empty_weight': torch.ones(3), 'reid.x': torch.ones(1)}
    )
    assert list(result.state_dict) == ['tracker.decoder_norm.weight']
    assert result.leftover == ('reid.x',)
    assert result.dropped == {'criterion.empty_weight': 'a constant of the loss'}


def test_old_and_new_name_of_the_queries():
    for name in ('static_query', 'query_feat'):
        result = convert_detectron2({f'sem_seg_head.predictor.{name}.weight': torch.ones(1)})
        assert list(result.state_dict) == ['segmenter.query_feat.weight']


def test_no_two_official_names_become_one():
    names = [
        f'backbone.res{s}.{n}.{tail}'
        for s in (2, 5)
        for n in (0, 11)
        for tail in (
            'conv1.weight',
            'conv1.norm.weight',
            'conv2.weight',
            'shortcut.weight',
            'shortcut.norm.running_mean',
        )
    ]
    result = convert_detectron2({name: torch.ones(1) for name in names})
    assert len(result.state_dict) == len(names) and not result.leftover
    assert result.renamed['backbone.res5.11.shortcut.norm.running_mean'] == (
        'segmenter.backbone.layer4.11.downsample.1.running_mean'
    )


def test_module_prefix_is_stripped():
    assert list(state_dict_of({'module.tracker.x': torch.ones(1), 'a.module.b': torch.ones(1)})) == [
        'tracker.x',
        'a.module.b',
    ]


def shapes(config):
    """Return the names and shapes of a model's weights without recomputed buffers."""
    # mmdet reads values of linspace, which meta tensors do not have
    with torch.device('meta'), mock.patch('torch.linspace', np.linspace):
        model = MODELS.build(config)
    return {name: tuple(x.shape) for name, x in model.state_dict().items() if not name.endswith(RECOMPUTED_BUFFERS)}


def converted(names):
    result = convert_detectron2({name: torch.empty(shape, device='meta') for name, shape in names.items()})
    assert not result.leftover
    return result


SWINS = dict(
    t=(96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    s=(96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
    b=(128, (2, 2, 18, 2), (4, 8, 16, 32), 12),
    l=(192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
)


@pytest.mark.parametrize('size', SWINS)
def test_a_swin_of_the_zoo_fits(size):
    width, depths, heads, window = SWINS[size]
    channels = [width * 2**k for k in range(4)]
    result = converted({**official.swin(*SWINS[size]), **official.segmenter(channels, 133, 200)})
    backbone = dict(type='mmdet.SwinTransformer', embed_dims=width, depths=depths, num_heads=heads, window_size=window)
    expected = shapes(
        dict(type='Mask2FormerSegmenter', backbone=backbone, in_channels=channels, num_classes=133, num_queries=200)
    )
    assert {name: tuple(x.shape) for name, x in result.state_dict.items()} == {
        f'segmenter.{k}': v for k, v in expected.items()
    }
    assert len(result.dropped) == sum(depths) + 1


@pytest.mark.parametrize('old', [False, True])
def test_the_resnet_of_the_zoo_fits(old, tmp_path):
    """The model zoo file is a pickle of arrays, with the old or the new name of the learned queries."""
    channels = (256, 512, 1024, 2048)
    names = {**official.resnet50(), **official.segmenter(channels, 133, 100, old=old)}
    arrays = {name: np.zeros(shape, np.int8) for name, shape in names.items()}
    (tmp_path / 'zoo.pkl').write_bytes(pickle.dumps(dict(model=arrays, __author__='somebody')))
    result = convert_detectron2(state_dict_of(read_checkpoint(tmp_path / 'zoo.pkl')))
    expected = shapes(
        Config.fromfile(CONFIGS / '_base_' / 'models' / 'minvis.py').model.segmenter | dict(num_classes=133)
    )
    assert not result.leftover
    assert {name: tuple(x.shape) for name, x in result.state_dict.items()} == {
        f'segmenter.{k}': v for k, v in expected.items()
    }
    assert bool([line for line in result.report() if 'old model zoo files' in line]) == old


@pytest.mark.parametrize(
    'plus, width, expected', [(False, 256, (9677082, 14411291)), (True, 512, (26863741, 44851582))]
)
def test_trackers_and_refiners_fit(plus, width, expected):
    classes = 124 if plus else 25
    for part, names, number in (
        ('tracker', official.tracker(classes, width, plus=plus), expected[0]),
        ('refiner', official.refiner(classes, width), expected[1]),
    ):
        base = CONFIGS / '_base_' / 'models' / f'dvis{"-plus" if plus else ""}-offline.py'
        config = {k: v for k, v in Config.fromfile(base).model[part].items() if k != 'loss'}
        model_shapes = shapes(dict(config, num_classes=classes))
        converted_shapes = {name: tuple(x.shape) for name, x in converted(names).state_dict.items()}
        assert converted_shapes == {f'{part}.{k}': v for k, v in model_shapes.items()}
        assert sum(math.prod(shape) for shape in model_shapes.values()) == number


def test_the_refiners_first_name_is_known():
    new, old = converted(official.refiner(25)), converted(official.refiner(25, prefix='offline_tracker'))
    assert set(new.state_dict) == set(old.state_dict) and not new.reasons
    assert set(old.reasons.values()) == {'the name of the refiner in the first releases of DVIS'}


def test_switches_are_written_down(tmp_path):
    """DVIS needs the inverse matching, DVIS++ does not; Mask2Former and MinVIS need no option."""
    v1 = converted({**official.tracker(5), **official.refiner(5)})
    assert v1.switches['tracker.legacy_inverse_match'] is True and v1.switches['tracker.context'] == 'first_frame'
    online = converted(official.tracker(5))
    assert online.switches['tracker.legacy_inverse_match'] is True and 'tracker.context' not in online.switches
    plus = converted(official.tracker(5, plus=True))
    assert plus.switches['tracker.legacy_inverse_match'] is False and plus.switches['segmenter.normed_embeds'] is False
    assert converted(official.segmenter((1, 2, 3, 4), 5, 6)).switches == {}
    assert 'needs    tracker.legacy_inverse_match = True' in v1.report()
    convert_detectron2({'tracker.decoder_norm.bias': torch.ones(2)}).save(tmp_path / 'a.pth', 'x/official.pth')
    meta = read_checkpoint(tmp_path / 'a.pth')['meta']
    assert meta['source'] == 'official.pth' and meta['switches']['tracker.legacy_inverse_match'] is True


def test_nothing_is_written_of_nothing(tmp_path):
    with pytest.raises(
        ValueError, match='x.pth contains no tensors that this converter supports, but neck.x; nothing was written'
    ):
        convert_mmdet({'neck.x': torch.ones(1)}).save(tmp_path / 'a.pth', 'x.pth')
    with pytest.raises(ValueError, match='1 tensors of x.pth have no counterpart in mmdvis, such as neck.x'):
        convert_mmdet({'neck.x': torch.ones(1), 'backbone.x': torch.ones(1)}).save(tmp_path / 'a.pth', 'x.pth')
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    (tmp_path / 'a.tmp').write_text('mine')
    result = convert_mmdet({'backbone.x': torch.ones(1)})

    def full(content, path):
        Path(path).write_text('half')
        raise RuntimeError('[enforce fail at inline_container.cc] no space\nmore')

    with monkeypatch.context() as patched:
        patched.setattr(torch, 'save', full)
        with pytest.raises(OSError, match=r'a.pth cannot be written: \[enforce fail .*no space$'):
            result.save(tmp_path / 'a.pth', 'x.pth')
    assert [p.name for p in tmp_path.iterdir()] == ['a.tmp']
    with pytest.raises(ValueError, match='x.pth is the source file; choose another output file'):
        result.save(tmp_path / 'x.pth', str(tmp_path / 'x.pth'))
    result.save(tmp_path / 'a.pth', 'x.pth')
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.pth', 'a.tmp']


def test_a_torn_merging_weight_is_named():
    with pytest.raises(ValueError, match=r'must be a multiple of four, got \(2, 6\)'):
        reorder_patch_merging(torch.ones(2, 6))


def test_the_same_weight_twice_is_refused():
    names = ['sem_seg_head.predictor.static_query.weight', 'sem_seg_head.predictor.query_feat.weight']
    with pytest.raises(
        ValueError, match='query_feat.weight and .*static_query.weight would both become segmenter.query_feat'
    ):
        convert_detectron2({name: torch.ones(1) for name in names})


def test_names_of_mmdet_2_are_known():
    pairs = {
        'pixel_decoder.encoder.layers.0.attentions.0.sampling_offsets.weight': (
            'pixel_decoder.encoder.layers.0.self_attn.sampling_offsets.weight'
        ),
        'pixel_decoder.encoder.layers.3.ffns.0.layers.0.0.bias': 'pixel_decoder.encoder.layers.3.ffn.layers.0.0.bias',
        'transformer_decoder.layers.2.attentions.0.attn.in_proj_bias': (
            'transformer_decoder.layers.2.cross_attn.attn.in_proj_bias'
        ),
        'transformer_decoder.layers.2.attentions.1.attn.in_proj_bias': (
            'transformer_decoder.layers.2.self_attn.attn.in_proj_bias'
        ),
        'transformer_decoder.layers.2.ffns.0.layers.1.weight': 'transformer_decoder.layers.2.ffn.layers.1.weight',
        'cls_embed.weight': 'cls_embed.weight',
        'mask_embed.4.bias': 'mask_embed.4.bias',
    }
    for head in ('panoptic_head', 'track_head'):
        result = convert_mmdet({f'{head}.{name}': torch.ones(1) for name in pairs})
        assert (
            result.renamed == {f'{head}.{old}': f'segmenter.{new}' for old, new in pairs.items()}
            and not result.leftover
        )


@pytest.mark.parametrize('name', ['r50_8xb2-lsj-50e', 'swin-t-p4-w7-224_8xb2-lsj-50e'])
@torch.no_grad()
def test_mmdets_mask2former_and_ours_agree(name):
    """Logits and masks agree to 1e-4 for the model zoo config with random weights and frames of 96 x 128."""
    folder = Path(mmdet.__file__).parent / '.mim' / 'configs' / 'mask2former'
    settings = Config.fromfile(folder / f'mask2former_{name}_coco-panoptic.py').model
    settings.backbone.pop('init_cfg', None)
    with DefaultScope.overwrite_default_scope('mmdet'):
        theirs = MODELS.build(settings).eval()
    result = convert_mmdet(theirs.state_dict())
    assert not result.leftover
    backbone = {k: v for k, v in settings.backbone.items() if k != 'type'}
    ours = MODELS.build(
        dict(
            type='Mask2FormerSegmenter',
            backbone=dict(type=f'mmdet.{settings.backbone.type}', **backbone),
            in_channels=settings.panoptic_head.in_channels,
            num_classes=133,
        )
    ).eval()
    model_weights = {f'segmenter.{name}': x for name, x in ours.state_dict().items()}
    loaded = plan_loading(model_weights, result.state_dict, ['segmenter']).weights
    ours.load_state_dict({name[len('segmenter.') :]: x for name, x in loaded.items()}, strict=False)
    frames = torch.randn(2, 3, 96, 128)
    logits, masks = theirs.panoptic_head(theirs.extract_feat(frames), [])
    queries = ours(frames[None])
    torch.testing.assert_close(queries.class_logits[0], logits[-1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dense_masks(queries)[0].transpose(0, 1), masks[-1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('hub_names', [False, True])
def test_transformers_mask2former_and_ours_agree(hub_names):
    transformers = pytest.importorskip('transformers')
    swin = dict(embed_dim=32, depths=[2, 2, 1, 1], num_heads=[1, 2, 2, 4], window_size=4)
    config = transformers.Mask2FormerConfig(
        backbone_config=transformers.SwinConfig(image_size=64, out_features=[f'stage{k}' for k in range(1, 5)], **swin),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=24,
        encoder_layers=1,
        decoder_layers=4,
        num_attention_heads=2,
        dim_feedforward=24,
        num_queries=7,
        num_labels=5,
    )
    torch.manual_seed(0)
    theirs = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    weights = theirs.state_dict()
    if hub_names:
        weights = {to_hub_name(name): tensor for name, tensor in weights.items()}
    checkpoint = Checkpoint.from_content(weights, 'model.safetensors')
    backbone = dict(
        type='mmdet.SwinTransformer', embed_dims=32, depths=(2, 2, 1, 1), num_heads=(1, 2, 2, 4), window_size=4
    )
    model = MODELS.build(
        dict(
            type='DVIS',
            num_classes=5,
            tracker=dict(type='CosineTracker'),
            segmenter=dict(
                type='Mask2FormerSegmenter',
                backbone=backbone,
                in_channels=(32, 64, 128, 256),
                num_queries=7,
                channels=32,
                mask_channels=32,
                pixel_decoder=dict(num_layers=1, num_heads=2, ffn_channels=24),
                decoder=dict(num_layers=3, num_heads=2, ffn_channels=24),
            ),
        )
    ).eval()
    load_weights(model, checkpoint)
    frames = torch.randn(2, 3, 96, 160)
    with torch.no_grad():
        expected, queries = theirs(frames), model.segmenter(frames[:, None])
    masks = torch.einsum('btqm,btmhw->btqhw', queries.mask_embeds, queries.mask_features)[:, 0]
    torch.testing.assert_close(queries.class_logits[:, 0], expected.class_queries_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(masks, expected.masks_queries_logits, atol=1e-4, rtol=1e-4)


def to_hub_name(name):
    """Return the name of a tensor in the files on the Hugging Face hub, used before transformers 5 renamed it."""
    rules = (
        ('encoder.swin.', 'encoder.'),
        ('attention.q_proj', 'attention.self.query'),
        ('attention.k_proj', 'attention.self.key'),
        ('attention.v_proj', 'attention.self.value'),
        ('attention.o_proj', 'attention.output.dense'),
        ('attention.relative_position_bias.', 'attention.self.'),
        ('mlp.fc1', 'intermediate.dense'),
        ('mlp.fc2', 'output.dense'),
    )
    if 'pixel_level_module.encoder' in name:
        for new, old in rules:
            name = name.replace(new, old)
    return name
