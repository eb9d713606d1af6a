"""Parameter groups of the optimizer."""

import warnings

import pytest
import torch
from torch import nn

from mmdvis.engine.optimizers.bfloat16 import BFloat16OptimWrapper
from mmdvis.engine.optimizers.grouped_constructor import GroupedConstructor, parameter_groups
from mmdvis.registry import PARAM_SCHEDULERS


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


def schedule(steps=100, warm_up=(10, 20)):
    wrapper = GroupedConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05)),
        dict(late=['backbone'], lr_mult={'backbone.0.': 0.5}),
    )(Model())
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='TwoStagePolyLR', by_epoch=False, begin=0, end=steps, warm_up=warm_up),
        default_args=dict(optimizer=wrapper),
    )
    return wrapper.optimizer, scheduler


def test_the_backbone_begins_after_the_heads():
    optimizer, scheduler = schedule()
    rates = []
    for _ in range(101):
        rates.append({(g['is_late'], g['initial_lr']): g['lr'] for g in optimizer.param_groups})
        optimizer.step()
        scheduler.step()
    heads, backbone = [r[False, 1e-3] for r in rates], [r[True, 1e-3] for r in rates]
    halved = [r[True, 5e-4] for r in rates]
    assert heads[0] == backbone[0] == backbone[10] == 0 and heads[5] == pytest.approx(5e-4)
    assert heads[10] == pytest.approx(1e-3) and backbone[20] == pytest.approx(5e-4)
    assert backbone[30] == pytest.approx(1e-3) and halved[30] == pytest.approx(5e-4)
    assert heads[55] == pytest.approx(1e-3 * 0.5**0.9) and backbone[65] == pytest.approx(1e-3 * 0.5**0.9)
    assert heads[100] == heads[99] == pytest.approx(1e-3 * (1 / 90) ** 0.9) and all(
        a >= b for a, b in zip(heads[10:], heads[11:])
    )


def test_a_schedule_can_be_saved_and_loaded():
    optimizer, scheduler = schedule()
    for _ in range(25):
        optimizer.step()
        scheduler.step()
    other_optimizer, other = schedule()
    other.load_state_dict(scheduler.state_dict())
    for value in (scheduler, other):
        value.step()
    assert other.last_step == scheduler.last_step == 26 and other._get_value() == scheduler._get_value()
    assert other_optimizer is not optimizer


def test_layers_can_have_rates_of_their_own():
    rates = {f'backbone.{i}.': 0.8 ** (1 - i) for i in range(2)}
    found = groups(lr_mult=rates, norm_decay_mult=1.0, embed_decay_mult=1.0, no_decay=())
    assert {rate: len(names) for (rate, _), names in found.items()} == {8e-3: 2, 1e-2: 7}


@pytest.mark.parametrize(
    'device, capability, is_slow', [('cpu', 'AVX2', True), ('cpu', 'AVX512', False), ('cuda', 'AVX2', False)]
)
def test_training_in_bfloat16_on_an_old_cpu_warns(monkeypatch, device, capability, is_slow):
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: capability)
    monkeypatch.setattr('platform.machine', lambda: 'x86_64')
    monkeypatch.setattr('mmdvis.engine.optimizers.bfloat16.get_device', lambda: device)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        BFloat16OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1))
    assert any('training in bf16 is slow on this CPU' in str(warning.message) for warning in caught) == is_slow
