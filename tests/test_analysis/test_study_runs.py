"""Runs of a study: what they share, what they start from, and scores of earlier runs."""

from pathlib import Path

import pytest
import torch
import yaml
from helpers.commands import ROOT, load
from helpers.plans import plan_of_rows

from mmdvis.analysis import study_runs as study_module
from mmdvis.analysis.ablation import Plan, Row, read_plan, write_study
from mmdvis.analysis.study_runs import chain, in_order, known_scores, read_scores, study_runs
from mmdvis.checkpoints import Checkpoint
from mmdvis.checkpoints.zoo import find_entry
from mmdvis.engine.launch import set_iterations
from mmdvis.errors import CheckpointError, OptionError


def test_runs_are_shared_by_what_they_train(tmp_path):
    config = str(ROOT / 'configs/toy/dvis-online_r18_1xb4-t10_toy.py')
    segmenter = str(ROOT / 'configs/toy/minvis_r18_1xb8-t1_toy.py')
    rows = dict(
        a=dict(config=config),
        same=dict(config=config, options={'model.tracker.start': 'matched'}),
        other=dict(config=config, options={'model.tracker.start': 'zero'}),
        long=dict(config=config, iters=3000),
        after=dict(config=config, start='a'),
        scored=dict(config=config, iters=0, start='after', options={'model.causal': True}),
        fused=dict(config=config, iters=0, start='after', options={'model.causal': True}, tta=[96, 128]),
    )
    plan = dict(title='t', baseline='a', seeds=[0, 1], metrics=['VPQ'], rows=rows, start=[dict(config=segmenter)])
    (tmp_path / 'plan.yml').write_text(yaml.safe_dump(plan))
    runs = study_runs(read_plan(tmp_path / 'plan.yml'), set_iterations)
    names = {key: run.name for key, run in runs.items()}
    assert len(set(names.values())) == 2 * 7  # start='matched' is the default, but the text of the config differs
    assert len({names[row, 0] for row in rows} & {names[row, 1] for row in rows}) == 0
    assert [run.stem for run in chain(runs['after', 1])] == [Path(segmenter).stem, *[Path(config).stem] * 2]
    assert runs['after', 1].start is runs['a', 1] and runs['a', 1].start.name == runs['a', 0].start.name
    assert not runs['scored', 0].is_trained and runs['long', 0].is_trained
    assert 'max_iters=3000' in runs['long', 0].settings.replace(' ', '')
    again = study_runs(read_plan(tmp_path / 'plan.yml'), set_iterations)
    assert {key: run.name for key, run in again.items()} == names
    order = [run.stem for run in in_order(runs.values())]
    assert len(order) == 1 + 2 * 7 and order[0] == Path(segmenter).stem
    assert in_order([runs['after', 0]]) == list(chain(runs['after', 0]))
    plan.update(start=[])
    (tmp_path / 'plan.yml').write_text(yaml.safe_dump(plan))
    assert study_runs(read_plan(tmp_path / 'plan.yml'), set_iterations)['a', 0].name != names['a', 0]


@pytest.mark.parametrize(
    'rows, message',
    [
        (dict(a=dict(start='b'), b={}), 'row a: start must be a row above it, got b'),
        (dict(a=dict(start='x')), 'row a: start must be a row above it, got x'),
        (dict(a={}, b=dict(start='a', tta=[96])), 'row b: tta must be positive .*, and only with iters: 0, got .96'),
        (dict(a={}, b=dict(start='a', iters=0, tta=[0])), 'row b: tta must be positive numbers of pixels'),
        (dict(a={}, b=dict(start='a', iters=0, tta=96)), 'row b: tta must be of type list, got 96'),
        (dict(a=dict(iters=0)), 'row a: without training .iters: 0., start must name the row to score'),
        (dict(a=dict(weights='dvis-offline_toy')), 'row a: weights is only allowed in the first entry of start'),
    ],
)
def test_faults_of_starts_are_named(rows, message, tmp_path):
    config = str(ROOT / 'configs/toy/minvis_r18_1xb8-t1_toy.py')
    rows = {name: dict(row, config=config) for name, row in rows.items()}
    plan = dict(title='t', baseline='a', seeds=[0], metrics=['VPQ'], rows=rows)
    (tmp_path / 'plan.yml').write_text(yaml.safe_dump(plan))
    with pytest.raises(OptionError, match=message):
        read_plan(tmp_path / 'plan.yml')


@pytest.mark.parametrize(
    'stages, message',
    [
        ([{}, dict(weights='dvis-offline_toy')], 'start: weights is only allowed in the first entry of start'),
        ([dict(weights='dvis-offline_toy', iters=3)], 'start: an entry with weights is not trained; remove its iters'),
        ([dict(weights=3)], 'start: weights must be of type str, got 3'),
        ([dict(weights='dvis-offline_toy', iters=0)], 'start: an entry with weights is not trained; remove its iters'),
        ([dict(iters=0)], 'a stage to start from must be trained'),
    ],
)
def test_faults_of_first_stages_are_named(stages, message, tmp_path):
    config = str(ROOT / 'configs/toy/minvis_r18_1xb8-t1_toy.py')
    with pytest.raises(OptionError, match=message):
        read_plan(plan_of_rows(tmp_path, start=[dict(stage, config=config) for stage in stages]))


def test_a_study_starts_from_the_weights_of_a_model(tmp_path):
    """They are evaluated without training; stages that the config lacks are dropped, and float16 becomes float32."""
    tool, calls = load('tools/analysis_tools/ablation.py'), []
    config = str(ROOT / 'configs/toy/minvis_r18_1xb8-t1_toy.py')
    other = study_runs(read_plan(plan_of_rows(tmp_path, start=[dict(config=config)])), set_iterations)
    plan = plan_of_rows(tmp_path, start=[dict(config=config, weights='dvis-offline_toy')])
    runs = study_runs(read_plan(plan), set_iterations)
    start = runs['a', 0].start
    assert not start.is_trained and start.name != other['a', 0].start.name and runs['a', 0].name != other['a', 0].name

    def call(command, log):
        calls.append(command)
        if command[0] == 'tools/train.py':
            (log.parent / 'iter_9.pth').write_bytes(b'')

    tool.Trainer(tmp_path / 'runs', None, call)(runs['scored', 0])
    path = tmp_path / 'runs' / start.name / 'iter_0.pth'
    assert [command[0] for command in calls] == ['tools/test.py', 'tools/train.py', 'tools/test.py', 'tools/test.py']
    assert calls[0][2] == str(path) and f'load_from={path}' in calls[1]
    assert [Path(command[2]).name for command in calls[2:]] == ['iter_9.pth'] * 2
    written, package = Checkpoint.read(path), Checkpoint.read(find_entry('dvis-offline_toy').weights)
    weights = written.weights
    assert {name.split('.')[0] for name in weights} == {'segmenter'}
    assert written.meta == dict(dataset_meta=package.meta['dataset_meta'], switches={})  # nothing about other stages
    assert all(torch.equal(tensor, package.weights[name].to(tensor.dtype)) for name, tensor in weights.items())
    assert {tensor.dtype for tensor in weights.values()} <= {torch.float32, torch.int64}
    (tmp_path / 'runs' / start.name / 'metrics.json').unlink(missing_ok=True)
    tool.Trainer(tmp_path / 'runs', None, call)(start)  # interrupted before it was scored
    assert calls[-1][2] == str(path)


def test_other_weights_of_the_same_name_are_another_run(tmp_path, monkeypatch):
    config = str(ROOT / 'configs/toy/minvis_r18_1xb8-t1_toy.py')
    plan = read_plan(plan_of_rows(tmp_path, start=[dict(config=config, weights='dvis-offline_toy')]))
    before = study_runs(plan, set_iterations)['a', 0].name
    assert study_runs(plan, set_iterations)['a', 0].name == before
    monkeypatch.setattr(study_module, 'weights_file', lambda name: Path('dvis_toy-12345678.pth'))
    assert study_runs(plan, set_iterations)['a', 0].name != before


def test_weights_that_cannot_be_used_are_named(tmp_path):
    tool, config = load('tools/analysis_tools/ablation.py'), 'configs/toy/minvis_r18_1xb8-t1_toy.py'
    plan = plan_of_rows(tmp_path, start=[dict(config=str(ROOT / config), weights='absent')])
    with pytest.raises(CheckpointError, match='absent'):
        study_runs(read_plan(plan), set_iterations)
    other = str(ROOT / 'configs/toy/eomt_vit_1xb8-t1_toy.py')
    plan = plan_of_rows(tmp_path, start=[dict(config=other, weights='dvis-offline_toy')])
    runs, calls = study_runs(read_plan(plan), set_iterations), []
    trainer = tool.Trainer(tmp_path / 'runs', None, lambda command, log: calls.append(command))
    for name in ('a', 'after'):
        with pytest.raises(CheckpointError, match='dvis_toy.* does not fit'):
            trainer(runs[name, 0])
    assert not calls and not list((tmp_path / 'runs').rglob('*.pth'))


def test_names_do_not_depend_on_the_folder_of_the_data(monkeypatch):
    row = Row(str(ROOT / 'configs/toy/dvis-online_r18_1xb4-t10_toy.py'))
    names = []
    for folder in ('data/toy', '/another/place', 'a'):
        monkeypatch.setenv('TOY_DATA', folder)
        run = study_runs(Plan('study', dict(a=row), 'a', (0,), ('VPQ',)), set_iterations)['a', 0]
        assert f'{folder}/' in run.settings
        names.append(run.name)
    assert len(set(names)) == 1


def test_known_scores_are_those_of_the_same_settings(tmp_path):
    row = Row(str(ROOT / 'configs/toy/minvis_r18_1xb8-t1_toy.py'))
    plan = Plan('study', dict(a=row), 'a', (0, 1), ('VPQ',))
    runs = study_runs(plan, set_iterations)
    assert known_scores(plan, runs, tmp_path / 'results.json') == {}
    names = {key: run.name for key, run in runs.items()}
    write_study(plan, {'a': {0: dict(VPQ=0.5), 1: dict(VPQ=0.6)}}, tmp_path, {**names, ('a', 1): 'another run'})
    known = known_scores(plan, runs, tmp_path / 'results.json')
    assert known == {'a': {0: dict(VPQ=0.5)}}
    assert read_scores(plan, runs, tmp_path, known) == known


def test_a_metric_that_no_run_has_is_named(tmp_path):
    row = Row(str(ROOT / 'configs/toy/minvis_r18_1xb8-t1_toy.py'))
    plan = Plan('study', dict(a=row), 'a', (7,), ('VPQ',))
    runs = study_runs(plan, set_iterations)
    folder = tmp_path / runs['a', 7].name
    assert read_scores(plan, runs, tmp_path) == {}
    folder.mkdir()
    (folder / 'metrics.json').write_text('{"VPQ": 0.5, "STQ": 0.4}')
    assert read_scores(plan, runs, tmp_path) == {'a': {7: dict(VPQ=0.5, STQ=0.4)}}
    with pytest.raises(OptionError, match='has no metric VQP; it has VPQ, STQ'):
        read_scores(Plan('t', dict(a=row), 'a', (7,), ('VQP',)), runs, tmp_path)


def test_a_row_after_a_scored_one_starts_from_what_was_scored(tmp_path):
    runs = study_runs(read_plan(plan_of_rows(tmp_path)), set_iterations)
    assert [run.is_trained for run in chain(runs['after', 0])] == [True, True]
    assert runs['after', 0].start is runs['a', 0]
