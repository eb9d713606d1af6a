"""The steps of the toy demo, with subprocesses replaced."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.commands import ROOT
from mmengine.config import Config


def load(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def demo():
    return load('demo/toy_demo.py')


@pytest.fixture
def calls(demo, monkeypatch):
    """Record commands instead of running them; each writes the file named by its last argument."""
    commands = []

    def run(command, cwd):
        commands.append(command[1:])
        Path(command[-1]).write_text('made')
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(demo.subprocess, 'run', run)
    return commands


def test_a_step_that_is_done_is_not_run_again(demo, calls, tmp_path):
    output = tmp_path / 'out'
    for _ in range(2):
        demo.Steps(tmp_path).run('make', output, ['tool.py', str(output)])
    assert calls == [['tool.py', str(output)]]
    assert set(json.loads((tmp_path / 'seconds.json').read_text())) == {'make'}


def test_a_deleted_output_is_made_again_and_all_that_follows(demo, calls, tmp_path):
    names = ('a', 'b', 'c')

    def run_all():
        steps = demo.Steps(tmp_path)
        for name in names:
            steps.run(name, tmp_path / name, ['tool.py', str(tmp_path / name)])

    run_all()
    (tmp_path / 'b').unlink()
    calls.clear()
    run_all()
    assert [Path(command[-1]).name for command in calls] == ['b', 'c']


def test_a_failed_step_stops(demo, monkeypatch, tmp_path):
    monkeypatch.setattr(demo.subprocess, 'run', lambda *a, **k: SimpleNamespace(returncode=3))
    with pytest.raises(SystemExit, match='the step make failed'):
        demo.Steps(tmp_path).run('make', tmp_path / 'out', ['tool.py'])


def settings(seed=0, recipe='demo'):
    return SimpleNamespace(seed=seed, recipe=recipe)


def test_another_seed_starts_anew(demo, tmp_path):
    folder = tmp_path / 'toy'
    demo.prepare(folder, settings())
    (folder / 'summary.json').write_text('{}')
    (folder / 'mine.txt').write_text('kept')
    demo.prepare(folder, settings())
    assert (folder / 'summary.json').exists()
    demo.prepare(folder, settings(seed=1))
    assert not (folder / 'summary.json').exists() and (folder / 'mine.txt').exists()


def test_a_folder_of_others_is_left_alone(demo, tmp_path):
    (tmp_path / 'data').mkdir()
    with pytest.raises(SystemExit, match='contains files of another program; choose an empty or new folder'):
        demo.prepare(tmp_path, settings())
    assert (tmp_path / 'data').is_dir()


@pytest.mark.parametrize('recipe', ['demo', 'bench'])
def test_every_recipe_has_its_configs(demo, recipe):
    for stem in demo.STAGES.values():
        config = Config.fromfile(ROOT / 'configs' / 'toy' / f'{stem}{demo.RECIPES[recipe]["suffix"]}.py')
        assert config.train_cfg.max_iters > 0
        assert config.param_scheduler[-1].end == config.train_cfg.max_iters


def test_each_stage_starts_from_the_one_before(demo, monkeypatch, tmp_path):
    """The iterations of the bench recipe sort differently as text and as numbers."""
    commands = []

    def run(command, cwd, check=False):
        commands.append([Path(word).name if '/' in word else word for word in command[1:]])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(demo.subprocess, 'run', run)
    monkeypatch.setattr(demo, 'write_summary', lambda folder, names, seconds: dict(rows=names, seconds=seconds))
    monkeypatch.setattr(demo, 'summary_table', lambda summary: str(summary['rows']))
    monkeypatch.setattr(demo, 'init_model', lambda *args: None)
    monkeypatch.setattr(demo, 'compare_video', lambda *args: 'video')
    monkeypatch.setattr(demo.DATASETS, 'build', lambda config: None)
    monkeypatch.setattr(
        'sys.argv',
        ['toy_demo.py', '--work-dir', str(tmp_path / 'toy'), '--recipe', 'bench', '--seed', '2', '--video', 'clip.mp4'],
    )
    monkeypatch.setenv('TOY_DATA', 'elsewhere')
    demo.main()
    words = [' '.join(command) for command in commands]
    assert [command[0] for command in commands] == [
        'make_toy_videos.py',
        *['train.py', 'test.py'] * 3,
        'association_ceiling.py',
        'video_demo.py',
    ]
    assert '--seed 2' in words[0] and all('randomness.seed=2' in words[k] for k in (1, 3, 5))
    assert 'load_from' not in words[1]
    assert words[2].split()[2] == 'iter_10000.pth' and words[3].endswith('iter_10000.pth')
    assert words[5].endswith('iter_8000.pth') and words[6].split()[2] == 'iter_4000.pth'
    assert words[7].split()[2] == 'iter_10000.pth'  # oracle tracking uses the first stage
    assert words[8].split()[3] == 'iter_4000.pth'
