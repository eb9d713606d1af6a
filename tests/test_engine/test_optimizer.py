"""Parameter groups of the optimizer."""

import torch
from torch import nn

from mmdvis.engine.optimizers.grouped_constructor import GroupedConstructor, parameter_groups


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.relative_position_bias_table = nn.Parameter(torch.ones(3))
        self.query_feat, self.level_encoding = nn.Embedding(3, 4), nn.Embedding(2, 4)
        self.head = nn.Linear(4, 2)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


def groups(**rules):
    model = Model()
    names = {id(p): n for n, p in model.named_parameters()}
    param_groups = parameter_groups(model, 1e-2, 0.1, **rules)
    return {(g['lr'], round(g['weight_decay'], 6)): sorted(names[id(p)] for p in g['params']) for g in param_groups}


def test_rules_compose_and_groups_are_merged():
    assert groups(lr_mult=dict(backbone=0.1)) == {
        (1e-3, 0.1): ['backbone.0.bias', 'backbone.0.weight'],
        (1e-3, 0.0): ['backbone.1.bias', 'backbone.1.weight'],
        (1e-2, 0.0): ['query_feat.weight', 'relative_position_bias_table'],
        (1e-2, 0.1): ['head.bias', 'head.weight', 'level_encoding.weight'],
    }


def test_every_learning_parameter_once_and_no_frozen_one():
    names = [name for part in groups(lr_mult=dict(backbone=0.1), bias_decay_mult=0.0).values() for name in part]
    expected = [name for name, p in Model().named_parameters() if p.requires_grad]
    assert sorted(names) == sorted(expected)


def test_biases_may_go_without_decay():
    assert 'head.bias' in groups(bias_decay_mult=0.0)[1e-2, 0.0]


def test_the_constructor_builds_a_wrapper():
    wrapper = GroupedConstructor(
        dict(
            type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05), clip_grad=dict(max_norm=1.0)
        ),
        dict(lr_mult=dict(backbone=0.1)),
    )(Model())
    assert isinstance(wrapper.optimizer, torch.optim.AdamW) and len(wrapper.optimizer.param_groups) == 4
    assert {round(g['lr'], 6) for g in wrapper.optimizer.param_groups} == {1e-3, 1e-4}
