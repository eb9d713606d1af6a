"""The benchmark of a whole frame compares checkouts in turns."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.commands import ROOT, load


@pytest.fixture
def benchmark():
    return load('benchmarks/whole_frame.py')


def test_commits_are_measured_in_turns(benchmark, monkeypatch, tmp_path, capsys):
    called = []

    def run(command, cwd, env, **options):
        words = dict(zip(command[3::2], command[4::2]))
        called.append((cwd, words['--size'], words['--precision'], env['PYTHONPATH'] == str(cwd)))
        ours = dict(seconds=dict(all=0.3 if cwd == ROOT else 0.3 + len(called) / 10))
        Path(words['--json']).write_text(json.dumps(dict(ours=ours)))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(benchmark, 'commit_files', lambda root, commit, folder: tmp_path / commit)
    monkeypatch.setattr(benchmark.subprocess, 'run', run)
    arguments = ['561a81d', '--sizes', '360', '--precisions', 'bf16', '--json', str(tmp_path / 'r.json')]
    monkeypatch.setattr(sys, 'argv', ['whole_frame.py', *arguments])
    benchmark.main()
    assert called == [(tmp_path / '561a81d', '360', 'bf16', True), (ROOT, '360', 'bf16', True)] * 2
    (row,) = json.loads((tmp_path / 'r.json').read_text())
    assert row['baseline'] == pytest.approx(0.5) and row['seconds'] == 0.3
    assert row['ratio'] == pytest.approx((0.3 / 0.4 + 0.3 / 0.6) / 2)
    assert '| 500 ' in capsys.readouterr().out.replace('     ', ' ')
