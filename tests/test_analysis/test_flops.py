"""Multiply-adds compared with published numbers and with manual counts."""

import json
import sys

import pytest
import torch
from helpers import tiny
from helpers.commands import ROOT, load
from mmengine.config import Config
from torch import nn

from mmdvis.analysis.flops import cost_summary, cost_table, count_ops, model_cost
from mmdvis.models.functional.deform_attn import deformable_attention
from mmdvis.registry import MODELS


def test_layers_by_hand():
    conv, linear = nn.Conv2d(3, 8, 3, padding=1).to('meta'), nn.Linear(8, 5).to('meta')
    _, counts = count_ops(lambda: conv(torch.empty(2, 3, 10, 12, device='meta')))
    assert (counts.macs, counts.outputs) == (2 * 8 * 120 * 27, 2 * 8 * 120)
    _, counts = count_ops(lambda: linear(torch.empty(7, 8, device='meta')))
    assert (counts.macs, counts.outputs) == (7 * 8 * 5, 35)
    q = torch.empty(1, 2, 6, 4, device='meta')
    _, counts = count_ops(lambda: nn.functional.scaled_dot_product_attention(q, q, q))
    assert counts.macs == 2 * (2 * 6 * 6 * 4)  # attention scores and weighted sum, two heads


def test_attention_costs_the_same_everywhere():
    macs = []
    for device in ('cpu', 'meta'):
        q = torch.empty(1, 2, 6, 4, device=device)
        macs.append(count_ops(lambda: nn.functional.scaled_dot_product_attention(q, q, q))[1].macs)
    assert macs == [2 * (2 * 6 * 6 * 4)] * 2


@pytest.mark.parametrize('device', ('cpu', 'meta'))
def test_deformable_sampling_reads_four_corners(device):
    value, offsets = torch.rand(2, 24, 3, 5, device=device), torch.rand(2, 7, 3, 1, 4, 2, device=device)
    reference, weights = torch.rand(7, 1, 2, device=device), torch.rand(2, 7, 3, 1, 4, device=device)
    _, counts = count_ops(lambda: deformable_attention(value, [(4, 6)], reference, offsets, weights))
    assert counts.macs == counts.gathered == 2 * 7 * 3 * 4 * 4 * 5 and counts.outputs == 2 * 7 * 15


def test_the_backbone_of_everybody():
    """ResNet-50 at 224 x 224 has 4.09 G multiply-adds without its classifier and 23.5 M parameters."""
    config = Config.fromfile(ROOT / 'configs/minvis/minvis_r50_8xb1-t1-20k_vipseg-720p.py')
    backbone = MODELS.build(config.model).segmenter.backbone.to('meta')
    backbone.eval()  # eval() of mmdet's backbone returns None
    _, counts = count_ops(lambda: backbone(torch.empty(1, 3, 224, 224, device='meta')))
    assert counts.macs / 1e9 == pytest.approx(4.087, abs=0.005)
    assert sum(p.numel() for p in backbone.parameters()) == 23_508_032


def test_the_segmenter_of_the_paper():
    """The paper reports 103.7 G at 480 x 864.

    Its attention masks have a quarter of the frame size, those of mmdvis have the size of the memory features.
    """
    config = Config.fromfile(ROOT / 'configs/dvis/dvis-online_r50_8xb1-t5-20k_ovis-360p.py')
    costs = {cost.name: cost for cost in model_cost(MODELS.build(config.model), (480, 864))}
    segmenter = sum(cost.macs for name, cost in costs.items() if name != 'tracker') / 1e9
    masks = 100 * 256 * 120 * 216 / 1e9
    tokens = 15 * 27 + 30 * 54 + 60 * 108
    # the counter of the paper ignores sampling
    small, sampling = (3 * 100 * 256 * tokens / 1e9, 6 * tokens * 8 * 3 * 4 * 4 * 32 / 1e9)
    assert segmenter - small - sampling + 10 * masks == pytest.approx(103.7, rel=0.005)
    assert costs['tracker'].macs / 1e9 + masks == pytest.approx(1.68, rel=0.01)


def test_a_segmenter_that_learns_costs_what_a_frozen_one_does():
    learning, frozen = model_cost(tiny.model('cosine'), (64, 96)), model_cost(tiny.model('dvis'), (64, 96))
    assert [(cost.name, cost.macs) for cost in learning] == [(cost.name, cost.macs) for cost in frozen[:3]]


def test_segmenters_whose_queries_pass_through_the_backbone():
    image, video = (
        {cost.name: cost for cost in model_cost(tiny.model(tracker, True, segmenter=segmenter), (64, 96))}
        for tracker, segmenter in (('cosine', tiny.EOMT), ('fixed', tiny.VIDEOMT))
    )
    parts = ['segmenter', 'enlarging of mask features', 'refiner']
    assert list(image) == list(video) == parts and image['refiner'] == video['refiner']
    update = tiny.QUERIES * tiny.WIDTH**2  # what carrying the queries to the next frame adds
    assert video['segmenter'].macs - image['segmenter'].macs == update
    assert video['segmenter'].parameters - image['segmenter'].parameters == tiny.WIDTH**2 + tiny.WIDTH
    patches, width = 8 * 12, tiny.WIDTH
    tokens = patches + 3  # class token and registers
    block = [12 * width**2 * n + 2 * width * n**2 for n in (tokens, tokens + tiny.QUERIES)]
    queries = tiny.QUERIES * (width * (tiny.CLASSES + 1) + 3 * width**2)
    upscale = patches * 4 * (width**2 + 9 * width)
    assert image['segmenter'].macs == patches * 3 * 64 * width + 2 * sum(block) + queries
    assert image['enlarging of mask features'].macs == upscale


def test_every_component_has_a_row(tmp_path, monkeypatch, capsys):
    model = tiny.model('dvis', refiner=True)
    number = sum(p.numel() for p in model.parameters())
    costs = model_cost(model, (40, 60), frames=3)
    assert [cost.name for cost in costs] == [
        'backbone',
        'pixel decoder',
        'transformer decoder and heads',
        'tracker',
        'refiner',
    ]
    assert sum(cost.parameters for cost in costs) == number and all(
        cost.macs > 0 and cost.activations > 0 for cost in costs
    )
    assert f'{number:,}' in cost_table(costs) and set(cost_summary(costs)) == {cost.name for cost in costs}
    monkeypatch.setattr(
        sys,
        'argv',
        [
            'get_flops.py',
            str(ROOT / 'configs/toy/dvis-online_r18_1xb4-t10_toy.py'),
            '--shape',
            '96',
            '160',
            '--json',
            str(tmp_path / 'cost.json'),
        ],
    )
    load('tools/analysis_tools/get_flops.py').main()
    summary = json.loads((tmp_path / 'cost.json').read_text())
    assert summary['shape'] == [96, 160] and summary['tracker']['macs'] > 0 and 'tracker' in capsys.readouterr().out
