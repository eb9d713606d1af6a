"""Ablation studies: plans, statistics against hand calculation and scipy, and a study of two rows to its table."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers import tiny_config
from helpers.commands import ROOT, load
from mmengine.config import Config
from PIL import Image
from scipy import stats

from mmdvis.analysis.ablation import (
    Plan,
    Row,
    compared,
    mean_and_deviation,
    paired_interval,
    read_plan,
    study_table,
    study_text,
    verdict,
    write_study,
)
from mmdvis.analysis.study_runs import chain, in_order, known_scores, read_scores, study_runs, write_start
from mmdvis.checkpoints import Checkpoint
from mmdvis.checkpoints.zoo import find_entry
from mmdvis.engine.launch import set_iterations
from mmdvis.errors import CheckpointError, OptionError

PLANS = sorted((ROOT / 'benchmarks' / 'ablations').glob('*.yml'))
RESULTS = sorted((ROOT / 'benchmarks' / 'ablations' / 'results').glob('*.json'))


def test_intervals_by_hand_and_by_scipy():
    """Differences 1, 2, 3: mean 2, deviation 1, t(0.975, 2) = 4.303, so 2 ± 4.303 / sqrt(3)."""
    mean, half = paired_interval([5.0, 7.0, 9.0], [4.0, 5.0, 6.0])
    assert mean == pytest.approx(2.0) and half == pytest.approx(4.30265 / 3**0.5, abs=1e-4)
    assert mean_and_deviation([4.0, 5.0, 6.0]) == (5.0, 1.0) and np.isnan(mean_and_deviation([1.0])[1])
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 1, 7), rng.normal(0, 1, 7)
    low, high = stats.ttest_rel(a, b).confidence_interval(0.95)
    mean, half = paired_interval(a, b)
    assert mean - half == pytest.approx(low) and mean + half == pytest.approx(high)
    assert paired_interval([2.0], [1.0]) == (1.0, float('inf'))


def test_the_interval_decides_the_word():
    assert verdict(2.0, 1.9) == 'higher' and verdict(2.0, 2.1) == 'undecided' and verdict(-2.0, 1.0) == 'lower'
    assert verdict(2.0, float('inf')) == 'undecided'


def plan_of(**rows):
    return Plan('study', rows, 'a', (0, 1, 2), ('VPQ',))


def test_rows_are_compared_by_the_seeds_that_both_have():
    scores = {'a': {0: {'VPQ': 0.5}, 1: {'VPQ': 0.9}, 2: {'VPQ': 0.6}}, 'b': {0: {'VPQ': 0.6}, 2: {'VPQ': 0.9}}}
    mean, half = compared(scores, plan_of(a=Row('x'), b=Row('y')), 'b', 'VPQ')
    assert mean == pytest.approx(0.2) and half == pytest.approx(12.7062 * 0.141421 / 2**0.5, abs=1e-4)
    table = study_table(plan_of(a=Row('x', published=3.5), b=Row('y'), c=Row('z')), scores).get_csv_string()
    header, first, second, third = [line.split(',') for line in table.strip().splitlines()]
    assert header == ['row', 'runs', 'VPQ', 'VPQ - a', 'published']
    assert first[:2] == ['a', '3'] and first[2].startswith('66.7 ± 20.8') and first[3:] == ['', '3.5']
    assert (
        second[2].startswith('75.0 ± 21.2')
        and second[3] == '+20.0 ± 127.1 undecided'
        and third == ['c', '0', '', '', '']
    )


def test_a_schedule_is_stretched_but_not_its_warm_up():
    schedule = [
        dict(type='LinearLR', begin=0, end=100),
        dict(type='LinearLR', begin=800, end=1600),
        dict(type='MultiStepLR', milestones=[400, 1200]),
        dict(type='CosineAnnealingLR', T_max=1600),
    ]
    config = Config(dict(train_cfg=dict(max_iters=1600), param_scheduler=schedule))
    set_iterations(config, 4000)
    assert config.train_cfg.max_iters == 4000
    first, second, third, fourth = config.param_scheduler
    assert (first.begin, first.end, second.begin, second.end) == (0, 100, 2000, 4000)
    assert third.milestones == [1000, 3000] and fourth.T_max == 4000


@pytest.mark.parametrize('path', PLANS, ids=lambda p: p.stem)
def test_plans_of_the_project_are_readable(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = read_plan(path)
    assert len(plan.seeds) >= 3 and len(plan.rows) >= 2
    for row in plan.rows.values():
        config = Config.fromfile(row.config)
        for name in {**plan.options, **row.options}:  # options of parts that the config has
            part = config
            for key in name.split('.')[:-1]:
                assert key in part, name
                part = part[key]


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(baseline='x'), 'baseline must be one of a, b, got x'),
        (dict(seeds=[]), 'seeds and metrics must have at least one entry'),
        (dict(rows=dict(a=dict(config='absent.py'))), 'row a: there is no config absent.py'),
        (dict(rows=dict(a=3)), 'row a: expected fields and values, got int'),
        (dict(repeats=3), 'the field repeats is unknown'),
        (dict(metrics=[]), 'seeds and metrics must have at least one entry'),
        (dict(metrics='VPQ'), "metrics must be of type list, got 'VPQ'"),
        (dict(seeds=3), 'seeds must be of type list, got 3'),
        (dict(rows=['a']), 'rows must be of type dict'),
        (dict(rows={'a': dict(config=None)}), 'row a: config must be of type str, got None'),
    ],
)
def test_faults_of_a_plan_are_named(change, message, tmp_path):
    config = str(ROOT / 'configs/toy/minvis_r18_1xb8-t1_toy.py')
    good = dict(
        title='t', baseline='a', seeds=[0], metrics=['VPQ'], rows=dict(a=dict(config=config), b=dict(config=config))
    )
    (tmp_path / 'plan.yml').write_text(yaml.safe_dump({**good, **change}))
    with pytest.raises(OptionError, match=message):
        read_plan(tmp_path / 'plan.yml')
    (tmp_path / 'plan.yml').write_text('a: [')
    with pytest.raises(OptionError, match='cannot be read as the plan of a study'):
        read_plan(tmp_path / 'plan.yml')


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
        ([dict(iters=0)], 'a stage to start from must be trained'),
    ],
)
def test_faults_of_first_stages_are_named(stages, message, tmp_path):
    config = str(ROOT / 'configs/toy/minvis_r18_1xb8-t1_toy.py')
    with pytest.raises(OptionError, match=message):
        read_plan(plan_of_rows(tmp_path, start=[dict(stage, config=config) for stage in stages]))


def test_a_study_starts_from_the_weights_of_a_model(tmp_path):
    """They are scored and not trained; only the stages that the config has are taken, in its precision."""
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
    weights, package = Checkpoint.read(path).weights, Checkpoint.read(find_entry('dvis-offline_toy').weights).weights
    assert {name.split('.')[0] for name in weights} == {'segmenter'} < {name.split('.')[0] for name in package}
    assert all(torch.equal(tensor, package[name].to(tensor.dtype)) for name, tensor in weights.items())
    assert {tensor.dtype for tensor in weights.values()} <= {torch.float32, torch.int64}
    with pytest.raises(CheckpointError, match='absent'):
        write_start(Path(config), 'absent', path)


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


@pytest.mark.parametrize('path', RESULTS, ids=lambda path: path.stem)
def test_results_of_the_project_belong_to_its_plans(path, monkeypatch):
    """The recorded results are of the settings that the plan has now, and the docs show their table."""
    monkeypatch.chdir(ROOT)
    plan = read_plan(path.parent.parent / f'{path.stem}.yml')
    runs = study_runs(plan, set_iterations)
    scores, content = known_scores(plan, runs, path), json.loads(path.read_text())
    assert {name: {str(seed) for seed in seeds} for name, seeds in scores.items()} == {
        name: set(seeds) for name, seeds in content['rows'].items()
    }
    is_toy = all(row.config.startswith('configs/toy/') for row in plan.rows.values())
    page = ROOT / 'docs/en' / ('toy_benchmark.md' if is_toy else 'real_video.md')
    assert study_table_markdown(plan, scores) in page.read_text()


def study_table_markdown(plan, scores):
    return study_text(plan, scores).split('\n\n')[0]


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


@pytest.mark.parametrize(
    'words, message',
    [
        (['--seeds', '9'], 'plan.yml has no seed 9; it has 0, 1'),
        (['--jobs', '0'], '--jobs must be at least 1, got 0'),
        (['--rows', 'x'], 'plan.yml has no row x; it has a, scored, after'),
    ],
)
def test_options_that_the_plan_does_not_have(words, message, tmp_path, monkeypatch):
    tool = load('tools/analysis_tools/ablation.py')
    plan_of_rows(tmp_path)
    monkeypatch.setattr('sys.argv', ['ablation.py', str(tmp_path / 'plan.yml'), '--work-dir', str(tmp_path), *words])
    with pytest.raises(SystemExit, match=message):
        tool.main()


def plan_of_rows(folder, **changes):
    config = str(ROOT / 'configs/toy/minvis_r18_1xb8-t1_toy.py')
    rows = dict(a=dict(config=config), scored=dict(config=config, iters=0, start='a'))
    rows['after'] = dict(config=config, start='scored')
    plan = dict(title='t', baseline='a', seeds=[0, 1], metrics=['VPQ'], rows=rows)
    (folder / 'plan.yml').write_text(yaml.safe_dump({**plan, **changes}, sort_keys=False))
    return folder / 'plan.yml'


def test_a_row_after_a_scored_one_starts_from_what_was_scored(tmp_path):
    runs = study_runs(read_plan(plan_of_rows(tmp_path)), set_iterations)
    assert [run.is_trained for run in chain(runs['after', 0])] == [True, True]
    assert runs['after', 0].start is runs['a', 0]


@pytest.mark.parametrize(
    'changes', [dict(seeds=[0, 0]), dict(seeds=['x']), dict(seeds=[[1]]), dict(metrics=['A', 'A'])]
)
def test_repeated_and_wrong_seeds_and_metrics(changes, tmp_path):
    with pytest.raises(OptionError, match='must be different (int|str) values, got'):
        read_plan(plan_of_rows(tmp_path, **changes))


def test_a_row_is_scored_with_its_passes(tmp_path):
    tool, calls = load('tools/analysis_tools/ablation.py'), []
    plan = plan_of_rows(tmp_path)
    content = yaml.safe_load(plan.read_text())
    content['rows']['scored']['tta'] = [96, 128]
    plan.write_text(yaml.safe_dump(content, sort_keys=False))
    runs = study_runs(read_plan(plan), set_iterations)

    def call(command, log):
        calls.append(command)
        if command[0] == 'tools/train.py':
            (log.parent / 'iter_1.pth').write_bytes(b'')

    tool.Trainer(tmp_path / 'runs', None, call)(runs['scored', 0])
    assert [command[0] for command in calls] == ['tools/train.py', 'tools/test.py', 'tools/test.py']
    assert '--tta' not in calls[1] and calls[2][-3:] == ['--tta', '96', '128']


def test_a_start_that_failed_is_not_run_again(tmp_path):
    tool, calls = load('tools/analysis_tools/ablation.py'), []
    runs = study_runs(read_plan(plan_of_rows(tmp_path)), set_iterations)

    def fail(command, log):
        calls.append(command)
        raise OptionError('no memory')

    trainer = tool.Trainer(tmp_path / 'runs', None, fail)
    for name in ('a', 'scored', 'after'):
        with pytest.raises(OptionError, match='no memory'):
            trainer(runs[name, 0])
    assert len(calls) == 1


@pytest.mark.slow
def test_a_study(toy_root, tmp_path, monkeypatch, capsys):
    """Rows and seeds: trained from a common start and from each other, scored, and not repeated."""
    tool = load('tools/analysis_tools/ablation.py')
    (tmp_path / 'configs').mkdir()
    segmenter = tiny_config.write(tmp_path / 'configs', 'minvis', toy_root, iters=1)
    tracker = tiny_config.write(tmp_path / 'configs', 'online', toy_root, iters=2)
    rows = {
        'matched': dict(config=str(tracker), published=30.5),
        'zero, two': dict(config=str(tracker), options={'model.tracker.start': 'zero'}, iters=3),
        'causal': dict(config=str(tracker), options={'model.causal': True}, iters=0, start='zero, two'),
    }
    plan = dict(
        title='start',
        baseline='matched',
        seeds=[0, 1],
        metrics=['VPQ', 'AQ_corrected'],
        start=[dict(config=str(segmenter))],
        rows=rows,
    )
    (tmp_path / 'plan.yml').write_text(yaml.safe_dump(plan, sort_keys=False))
    calls, call = [], tool.Calls.__call__
    monkeypatch.setattr(tool.Calls, '__call__', lambda self, *words: calls.append(words[0]) or call(self, *words))
    words = ['ablation.py', str(tmp_path / 'plan.yml'), '--work-dir', str(tmp_path / 'my out'), '--jobs', '2']
    words += ['--runs', str(tmp_path / 'runs'), '--cache', str(tmp_path / 'cache'), '--known', str(tmp_path / 'known')]
    monkeypatch.setattr('sys.argv', [*words, '--seeds', '0'])
    tool.main()
    assert [call[0] for call in calls].count('tools/train.py') == 3 and len(calls) == 7
    assert not [call for call in calls if 'minvis' in call[1] and '--cfg-options' in call and 'load_from' in str(call)]
    monkeypatch.setattr('sys.argv', words)
    tool.main()
    assert len(calls) == 7 + 5  # neither the start nor seed 0 again
    results = json.loads((tmp_path / 'my out' / 'results.json').read_text())
    assert {name: set(seeds) for name, seeds in results['rows'].items()} == {name: {'0', '1'} for name in rows}
    assert len(list((tmp_path / 'runs').glob('*/iter_3.pth'))) == 2 and list(
        (tmp_path / 'cache').rglob('*.safetensors')
    )
    table = (tmp_path / 'my out' / 'table.md').read_text()
    assert '| matched' in table and '30.5' in table and 'AQ_corrected - matched' in table
    assert Image.open(tmp_path / 'my out' / 'plot.png').size[0] > 400
    capsys.readouterr()
    monkeypatch.setattr('sys.argv', [*words, '--show'])
    tool.main()
    assert 'zero, two' in capsys.readouterr().out and len(calls) == 12
    monkeypatch.setattr('sys.argv', [*words, '--record'])
    tool.main()
    shutil.rmtree(tmp_path / 'runs')
    monkeypatch.setattr('sys.argv', words)
    tool.main()  # all of it is known
    assert len(calls) == 12 and 'zero, two' in capsys.readouterr().out
    monkeypatch.setattr('sys.argv', [*words, '--rows', 'one'])
    with pytest.raises(SystemExit, match='plan.yml has no row one; it has matched, zero, two, causal'):
        tool.main()
