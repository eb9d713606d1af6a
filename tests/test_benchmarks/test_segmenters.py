"""The comparison of segmenters runs in every precision."""

import json
import sys

import pytest
from helpers.commands import ROOT, load

CONFIGS = ('minvis_r18_1xb8-t1_toy', 'eomt_vit_1xb8-t1_toy', 'videomt_vit_1xb2-t4_toy')


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_times_and_costs_of_every_config(precision, tmp_path, monkeypatch, capsys):
    paths = [str(ROOT / 'configs' / 'toy' / f'{name}.py') for name in CONFIGS]
    options = ['--shape', '64', '96', '--rounds', '1', '--precision', precision, '--json', str(tmp_path / 'out.json')]
    monkeypatch.setattr(sys, 'argv', ['segmenters.py', *paths, *options])
    load('benchmarks/segmenters.py').main()
    results = json.loads((tmp_path / 'out.json').read_text())
    assert list(results) == list(CONFIGS) and results[CONFIGS[0]]['ratio'] == 1.0
    assert all(result['seconds'] > 0 and result['macs'] > 0 for result in results.values())
    assert 'GMACs' in capsys.readouterr().out
