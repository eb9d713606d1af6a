"""Names and layouts of converted weights."""
import re

import torch

from mmdvis.apis.weight_conversion import convert_detectron2, reorder_merging


def test_patch_merging_is_reordered():
    """A frame merged as Swin does, with Swin's weight, equals mmdet's unfold with ours."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 4, 6), torch.randn(6, 12)  # (N, c, H, W), (2c, 4c)
    corners = [x[:, :, i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
    expected = torch.cat(corners, 1).flatten(2).transpose(1, 2) @ weight.T
    ours = torch.nn.functional.unfold(x, 2, stride=2).transpose(1, 2) @ reorder_merging(weight).T
    torch.testing.assert_close(ours, expected)
    vector = torch.arange(12.)
    assert torch.equal(reorder_merging(vector), reorder_merging(vector[None].expand(2, -1))[0])


def test_unknown_names_are_left_over_and_constants_dropped():
    result = convert_detectron2({
        'tracker.decoder_norm.weight': torch.ones(2), 'criterion.empty_weight': torch.ones(3), 'reid.x': torch.ones(1)})
    assert list(result.state_dict) == ['tracker.decoder_norm.weight']
    assert result.leftover == ('reid.x', )
    assert result.dropped == {'criterion.empty_weight': 'a constant of the loss'}


def test_old_and_new_name_of_the_queries():
    for name in ('static_query', 'query_feat'):
        result = convert_detectron2({f'sem_seg_head.predictor.{name}.weight': torch.ones(1)})
        assert list(result.state_dict) == ['segmenter.query_feat.weight']


def test_no_two_official_names_become_one():
    names = [f'backbone.res{s}.{n}.{tail}' for s in (2, 5) for n in (0, 11) for tail in (
        'conv1.weight', 'conv1.norm.weight', 'conv2.weight', 'shortcut.weight', 'shortcut.norm.running_mean')]
    result = convert_detectron2({name: torch.ones(1) for name in names})
    assert len(result.state_dict) == len(names) and not result.leftover
    assert result.renamed['backbone.res5.11.shortcut.norm.running_mean'] == (
        'segmenter.backbone.layer4.11.downsample.1.running_mean')


def test_module_prefix_is_stripped():
    from mmdvis.structures import state_dict_of
    assert list(state_dict_of({'module.tracker.x': torch.ones(1), 'a.module.b': torch.ones(1)})) == ['tracker.x', 'a.module.b']


def test_converted_names_are_those_of_the_model():
    """A model's own names, turned into official ones and back, all arrive."""
    from mmdvis.models import DVISTracker
    ours = {f'tracker.{name}': x for name, x in DVISTracker(25, num_layers=2).state_dict().items()}
    back = [(r'layers\.(\d+)\.rca\.', r'transformer_cross_attention_layers.\1.multihead_attn.'),
            (r'layers\.(\d+)\.self_attn\.', r'transformer_self_attention_layers.\1.self_attn.'),
            (r'layers\.(\d+)\.norms\.0\.', r'transformer_cross_attention_layers.\1.norm.'),
            (r'layers\.(\d+)\.norms\.1\.', r'transformer_self_attention_layers.\1.norm.'),
            (r'layers\.(\d+)\.norms\.2\.', r'transformer_ffn_layers.\1.norm.'),
            (r'tracker\.layers\.(\d+)\.ffn\.layers\.0\.0\.', r'tracker.transformer_ffn_layers.\1.linear1.'),
            (r'tracker\.layers\.(\d+)\.ffn\.layers\.1\.', r'tracker.transformer_ffn_layers.\1.linear2.'),
            (r'cls_embed', 'class_embed'), (r'mask_embed\.0', 'mask_embed.layers.0'),
            (r'mask_embed\.2', 'mask_embed.layers.1'), (r'mask_embed\.4', 'mask_embed.layers.2')]
    official = {}
    for name, tensor in ours.items():
        for pattern, target in back:
            name = re.sub(pattern, target, name)
        official[name] = tensor
    result = convert_detectron2(official)
    assert not result.leftover and set(result.state_dict) == set(ours)
    assert all(torch.equal(result.state_dict[name], ours[name]) for name in ours)
