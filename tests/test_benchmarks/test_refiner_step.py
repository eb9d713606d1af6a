"""The benchmark of a refiner's step runs and compares checkouts."""

import json
import math
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
    assert benchmark.step(2, 1)['loss'] == result['loss']


def test_commits_are_measured_in_turns(benchmark, monkeypatch, tmp_path, capsys):
    called = []

    def measured(checkout, frames, threads):
        called.append((checkout, frames, threads))
        return dict(seconds=2.0 if checkout == ROOT else 3.0 + len(called), loss=1.23456)

    monkeypatch.setattr(benchmark, 'measured', measured)
    arguments = ['--frames', '10', '--threads', '2', '--baseline', str(tmp_path), '--json', str(tmp_path / 'r.json')]
    monkeypatch.setattr(sys, 'argv', ['refiner_step.py', *arguments])
    benchmark.main()
    assert called == [(ROOT, 10, 2), (tmp_path, 10, 2)] * 3
    (row,) = json.loads((tmp_path / 'r.json').read_text())
    assert row['seconds'] == [2.0, 7.0] and row['quicker'] == 3.5 and row['losses'] == [1.235, 1.235]
    assert '3.50' in capsys.readouterr().out
