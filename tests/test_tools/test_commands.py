"""Command-line arguments of the tools, without running them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import tiny_config
from helpers.commands import ROOT, load

from mmdvis.cli import train as train_command

# other files are not scripts
TOOLS = sorted(
    p
    for folder in ('tools', 'demo', 'benchmarks')
    for p in (ROOT / folder).rglob('*.py')
    if '__main__' in p.read_text()
)


@pytest.mark.parametrize('path', TOOLS, ids=lambda p: p.stem)
def test_every_tool_explains_itself(path, monkeypatch, capsys):
    module = load(path.relative_to(ROOT))
    monkeypatch.setattr('sys.argv', [path.name, '--help'])
    with pytest.raises(SystemExit) as stop:
        module.parse_args()
    assert stop.value.code == 0
    assert module.__doc__.split()[0] in capsys.readouterr().out


def parse(path, monkeypatch, *words):
    module = load(path)
    monkeypatch.setattr('sys.argv', ['tool', *words])
    return module.parse_args()


def test_train_has_mmdets_flags(monkeypatch):
    args = parse(
        'tools/train.py',
        monkeypatch,
        'c.py',
        '--work-dir',
        'w',
        '--amp',
        '--auto-scale-lr',
        '--resume',
        '--cfg-options',
        'a.b=3',
        'c=x,y',
        '--launcher',
        'pytorch',
        '--local-rank',
        '1',
    )
    assert (args.config, args.work_dir, args.amp, args.auto_scale_lr) == ('c.py', 'w', 'fp16', True)
    assert args.resume == 'auto' and args.cfg_options == {'a.b': 3, 'c': ['x', 'y']} and args.local_rank == 1
    assert parse('tools/train.py', monkeypatch, 'c.py', '--resume', 'x.pth').resume == 'x.pth'
    assert parse('tools/train.py', monkeypatch, 'c.py').resume is None


def test_test_has_mmdets_flags(monkeypatch):
    args = parse(
        'tools/test.py',
        monkeypatch,
        'c.py',
        'k.pth',
        '--work-dir',
        'w',
        '--out',
        'o.pkl',
        '--show-dir',
        's',
        '--cfg-options',
        'x=1',
        '--launcher',
        'none',
        '--local_rank',
        '2',
    )
    assert (args.checkpoint, args.out, args.show_dir, args.local_rank) == ('k.pth', 'o.pkl', 's', 2)


def stage_args(**options):
    return SimpleNamespace(**{**dict(cfg_options=[], gpus=0, amp=None, accumulate=1, resume=False), **options})


def test_a_stage_gets_the_checkpoint_of_the_one_before():
    from mmdvis.cli.train_stages import command

    first = command('a.py', Path('w/a'), None, stage_args())
    assert first[1:] == ['-m', 'mmdvis', 'train', 'a.py', '--work-dir', str(Path('w/a'))]
    options = stage_args(cfg_options=['x=1'], resume=True, amp='bf16', accumulate=4)
    second = command('b.py', Path('w/b'), 'w/a/iter_9.pth', options)
    assert second[-4:] == ['--load-from', 'w/a/iter_9.pth', '--cfg-options', 'x=1']
    assert '--resume --amp bf16 --accumulate 4' in ' '.join(second)


def test_several_processes_go_through_the_launcher():
    from mmdvis.cli.train_stages import command

    words = command('a.py', Path('w'), None, stage_args(gpus=4))
    assert words[1:3] == ['-m', 'torch.distributed.run'] and '--nproc_per_node=4' in words
    assert words[words.index('mmdvis') :][:3] == ['mmdvis', 'train', 'a.py'] and words[-2:] == ['--launcher', 'pytorch']


def test_amp_and_rate_scaling_reach_the_config(monkeypatch):
    module, passed = train_command, []
    monkeypatch.setattr(module, 'train', lambda config, trust, overwrite: passed.extend((config, trust)) or 'last.pth')
    config = str(ROOT / 'configs' / 'minvis' / 'minvis_r50_8xb1-t1-20k_vipseg-720p.py')
    monkeypatch.setattr(
        'sys.argv',
        ['train.py', config, '--amp', '--auto-scale-lr', '--cfg-options', 'train_cfg.max_iters=7', '--trust'],
    )
    module.main()
    assert passed[1] is True
    assert passed[0].optim_wrapper.type == 'AmpOptimWrapper' and passed[0].optim_wrapper.loss_scale == 'dynamic'
    assert passed[0].auto_scale_lr.enable and passed[0].train_cfg.max_iters == 7
    assert passed[0].work_dir == 'work_dirs/minvis_r50_8xb1-t1-20k_vipseg-720p'


def test_rate_scaling_needs_a_base(monkeypatch):
    module = train_command
    config = str(ROOT / 'configs' / 'toy' / 'minvis_r18_1xb8-t1_toy.py')
    monkeypatch.setattr('sys.argv', ['train.py', config, '--auto-scale-lr'])
    with pytest.raises(SystemExit, match='has no auto_scale_lr.base_batch_size'):
        module.main()


def test_clip_lengths_are_scored_one_after_the_other(monkeypatch, capsys, tmp_path, toy_root):
    tool, calls = load('tools/analysis_tools/clip_lengths.py'), []

    def score(config, checkpoint, trust):
        calls.append((config.model.clip_len, config.model.causal, checkpoint))
        return {name: 0.1 * len(calls) for name in tool.COLUMNS}

    monkeypatch.setattr(tool, 'test', score)
    config = tiny_config.write(tmp_path, 'offline', toy_root)
    monkeypatch.setattr(
        'sys.argv',
        ['x', str(config), 'k.pth', '--lengths', '2', 'all', '--causal', '--json', str(tmp_path / 'out.json')],
    )
    tool.main()
    assert calls == [(2, True, 'k.pth'), (None, True, 'k.pth')]
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    assert [row[1] for row in lines[1:]] == ['2', 'all'] and lines[2][3] == '20.0'
    assert set(json.loads((tmp_path / 'out.json').read_text())) == {'2', 'all'}


@pytest.mark.parametrize('word', ['0', '-1', 'half'])
def test_lengths_that_there_are_not(word):
    with pytest.raises(SystemExit, match=f"must be positive numbers of frames or 'all', got '{word}'"):
        load('tools/analysis_tools/clip_lengths.py').lengths_of(['1', word])
