"""Profile of a training step: its parts add up to the total."""

import json
import sys
from itertools import count

import pytest
import torch
from helpers import tiny
from helpers.commands import load

from mmdvis.analysis.profile_inference import Throughput
from mmdvis.analysis.profile_training import profile_training, training_batch, training_lower_bounds

SMALL = dict(clips=2, frames=3, size=64, objects=5, classes=tiny.CLASSES)


def test_a_batch_is_what_a_loader_gives():
    batch = training_batch(**SMALL)
    assert [clip.shape for clip in batch['inputs']] == [(3, 3, 64, 64)] * 2 and batch['inputs'][0].dtype == torch.uint8
    maps = batch['data_samples'][0].gt_index_maps
    assert maps.shape == (1, 3, 64, 64) and all(frame.unique().tolist() == [1, 2, 3, 4, 5] for frame in maps[0])
    assert torch.equal(maps[0, 0, 10:, 10:][:-1, :-1], maps[0, 1, 11:, 11:])  # objects move one pixel per frame


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
@pytest.mark.parametrize('tracker, refiner', [('cosine', False), ('dvis', False), ('dvis', True)])
def test_parts_of_a_step_add_up_and_the_model_learns(tracker, refiner, precision):
    model = tiny.model(tracker, refiner).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    durations = profile_training(model, training_batch(**SMALL), precision).seconds
    assert ('frozen stages' in durations) == (tracker == 'dvis')
    # the parts cover the whole step
    assert durations['all'] == pytest.approx(sum(value for name, value in durations.items() if name != 'all'))
    assert all(seconds > 0 for seconds in durations.values()) and {
        'learning stage and loss',
        'gradients',
        'update',
    } < set(durations)
    changed = {name.split('.')[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(model.trainable)


@pytest.mark.parametrize('tracker, refiner, frozen', [('cosine', False, 0), ('dvis', False, 3), ('dvis', True, 4)])
def test_every_part_gets_the_time_it_took(tracker, refiner, frozen, monkeypatch):
    """The clock advances by one at each reading: at the start, after every frozen call and after every part."""
    ticks = count()
    monkeypatch.setattr('mmdvis.analysis.profile_training.time.perf_counter', lambda: float(next(ticks)))
    durations = profile_training(tiny.model(tracker, refiner).train(), training_batch(**SMALL), 'fp32').seconds
    parts = {'learning stage and loss': 1.0, 'gradients': 1.0, 'update': 1.0, 'all': 3.0 + frozen}
    assert durations == (dict(parts, **{'frozen stages': float(frozen)}) if frozen else parts)


def test_floors_of_a_step_are_those_of_its_frames():
    floor = dict(backbone=1.0, tracker=0.5, refiner=0.25)
    cases = {'cosine': ('segmenter', 0.0, 3.0), 'dvis': ('tracker', 3.0, 1.5)}
    for tracker, (name, frozen, learning) in cases.items():
        model = tiny.model(tracker)
        assert model.trainable == (name,)
        assert training_lower_bounds(floor, model, 3) == {
            'frozen stages': frozen,
            'learning stage and loss': learning,
            'gradients': 2 * learning,
        }
    assert training_lower_bounds(floor, tiny.model('dvis', True), 3)['frozen stages'] == 4.5


def test_the_tool_measures_steps(tmp_path, monkeypatch, capsys):
    config = tmp_path / 'tiny.py'
    model = dict(type='DVIS', num_classes=tiny.CLASSES, segmenter=tiny.SEGMENTER, tracker=tiny.TRACKERS['dvis'])
    config.write_text(f'model = {model!r}\ntrain_dataloader = dict(dataset=dict(clip=dict(num_frames=2)))')
    tool = load('tools/analysis_tools/benchmark.py')
    monkeypatch.setattr(tool, 'measure_throughput', lambda device: Throughput(dict(fp32=1e9, bf16=2e9), 1e9))
    monkeypatch.setattr(
        sys,
        'argv',
        [
            'benchmark.py',
            str(config),
            '--train',
            '2',
            '--size',
            '64',
            '--objects',
            '3',
            '--baseline',
            'plain',
            '--json',
            str(tmp_path / 'found.json'),
        ],
    )
    tool.main()
    text, results = capsys.readouterr().out, json.loads((tmp_path / 'found.json').read_text())
    assert 'a step on 2 x 2 frames of 64 x 64' in text and 'steps/s' in text
    assert results['frames'] == 4 and results['plain']['seconds'].keys() == results['ours']['seconds'].keys()
