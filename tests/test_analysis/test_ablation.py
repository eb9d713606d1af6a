"""Ablation studies: plans, statistics against hand calculation and scipy, and a study of two rows to its table."""

import json
import shutil

import numpy as np
import pytest
import yaml
from helpers import tiny_config
from helpers.commands import ROOT, load
from helpers.plans import plan_of_rows
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
)
from mmdvis.analysis.study_runs import known_scores, study_runs
from mmdvis.engine.launch import set_iterations
from mmdvis.errors import OptionError

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
