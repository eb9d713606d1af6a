"""The benchmark of a refiner's step runs and compares checkouts."""

import json
import math
import subprocess
import sys

import pytest
from helpers.commands import ROOT, load


@pytest.fixture
def benchmark(monkeypatch):
    module = load('benchmarks/refiner_step.py')
    monkeypatch.setattr(module, 'SIZE', 64)
    monkeypatch.setattr(module, 'OBJECTS', 3)
    return module


def test_a_step_learns_from_random_tracks(benchmark):
    result = benchmark.step(2, 1)
    assert math.isfinite(result['loss']) and result['seconds'] > 0
    assert benchmark.step(2, 1)['loss'] == result['loss'] != benchmark.step(3, 1)['loss']


def test_a_step_is_measured_with_the_package_of_the_checkout(benchmark, monkeypatch, tmp_path):
    def run(command, env, **options):
        result = dict(words=command[1:], path=env['PYTHONPATH'])
        return subprocess.CompletedProcess(command, 0, f'a warning\n{json.dumps(result)}\n')

    monkeypatch.setattr(benchmark.subprocess, 'run', run)
    found = benchmark.measured(tmp_path, 10, 2)
    assert found == dict(words=[benchmark.__file__, '--one', '10', '2'], path=str(tmp_path))


def test_commits_are_measured_in_turns(benchmark, monkeypatch, tmp_path, capsys):
    called = []

    def measured(checkout, frames, threads):
        called.append((checkout, frames, threads))
        return dict(seconds=2.0 if checkout == ROOT else 3.0 + len(called), loss=1.23456)

    monkeypatch.setattr(benchmark, 'measured', measured)
    monkeypatch.setattr(benchmark, 'commit_files', lambda root, commit, folder: tmp_path / commit)
    arguments = ['--frames', '10', '--threads', '2', '--baseline', '74cc30d', '--json', str(tmp_path / 'r.json')]
    monkeypatch.setattr(sys, 'argv', ['refiner_step.py', *arguments])
    benchmark.main()
    assert called == [(ROOT, 10, 2), (tmp_path / '74cc30d', 10, 2)] * 3
    (row,) = json.loads((tmp_path / 'r.json').read_text())
    assert row['seconds'] == [2.0, 7.0] and row['quicker'] == 3.5 and row['losses'] == [1.235, 1.235]
    assert '3.50' in capsys.readouterr().out
