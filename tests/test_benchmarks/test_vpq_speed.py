"""VPQ speed benchmark: reproducible data, and a baseline with the same scores."""

import hashlib

import pytest
from helpers.commands import load

from mmdvis.evaluation.files.scoring import score_vpq


@pytest.fixture
def benchmark_tool():
    return load('benchmarks/vpq_speed.py')


def test_the_data_are_those_of_the_recipe(benchmark_tool):
    gt, predicted, _, _ = benchmark_tool.make_video(0, 2)
    digest = hashlib.sha256(gt.astype('<i4').tobytes() + predicted.astype('<i4').tobytes()).hexdigest()
    assert digest == '3f0f18338e3bed73e059b9eeea2a2a43b8c11d8e92bd8ce745cdb0d298d4eefd'


def test_the_baseline_gives_the_same_figures(benchmark_tool, tmp_path):
    benchmark_tool.write_set(tmp_path, videos=1, frames=6)
    plain = benchmark_tool.one_window_at_a_time(tmp_path)
    ours = score_vpq('vipseg', tmp_path / 'truth.json', tmp_path / 'panomasksRGB', tmp_path / 'submission').figures
    assert plain == pytest.approx({name: 100 * ours[name] for name in plain}, abs=1e-9)
