"""Parity checks: official weights reproduce the official results on copies of the small fixtures."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commands import DATA, load
from mmengine.config import Config

from mmdvis.apis import init_model
from mmdvis.results import VideoDataSample
from mmdvis.testing.parity import options as parity_options
from mmdvis.testing.parity.comparison import Comparison, compare_equal, compare_pixels, compare_values, report
from mmdvis.testing.parity.dvis import SYSTEMS, Fixture, compare_windows, model_config, run_windows
from mmdvis.testing.parity.fixtures import FIXTURE_KINDS as KINDS
from mmdvis.testing.parity.fixtures import compare_fixtures
from mmdvis.testing.parity.parts import compare_losses, mean_deviation

SHARED = Path(__file__).parents[3] / 'shared' / 'fixtures' / 'parity'
FOLDERS = [
    DATA / 'parity' / 'dvis_swin',
    *(
        pytest.param(folder, marks=pytest.mark.slow)
        for folder in [SHARED / 'dvis_r18', SHARED / 'dvis_swin']
        if folder.is_dir()
    ),
]


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda f: f'{f.parent.parent.name}_{f.name}')
def test_a_complete_model_agrees(folder):
    """The checks cover names, stages, results of every task, and windows of every length."""
    comparisons = compare_fixtures(folder)
    text, holds = report(comparisons)
    assert holds and len(comparisons) == 1 + 14 + 17 + 45 + 2 * 17 + 7, text
    half = {c.name: float(c.found.split()[0]) for c in comparisons if c.name.endswith('(bf16)')}
    assert len(half) == 7 and all(95 < share < 100 for share in half.values())  # reported without a verdict


@pytest.fixture(autouse=True)
def few_options(monkeypatch):
    """Check only one of the rounded options; the tool checks all."""
    monkeypatch.setattr(parity_options, 'ROUNDED', {'bf16': parity_options.ROUNDED['bf16']})


def test_an_exact_option_that_is_not_is_found_out(monkeypatch):
    monkeypatch.setattr(parity_options, 'EXACT', {'features that lie': (dict(store='memory'), 'fp32')})
    monkeypatch.setattr(parity_options, 'ROUNDED', {})
    monkeypatch.setattr('mmdvis.io.feature_stores.to_half', lambda features: (0.5 * features).half())
    fixture = Fixture.read(FOLDERS[0])
    verdicts = {c.name: c.verdict for c in parity_options.compare_options(fixture)}
    assert verdicts['DVIS_online.vss.sem_seg (features that lie)'] == 'FAIL'


@pytest.mark.parametrize('system', SYSTEMS)
def test_window_lengths_give_equal_maps(system):
    fixture = Fixture.read(FOLDERS[0])
    whole, *others = (
        run_windows(fixture.model(system, 'vps', window=window), fixture.source) for window in (7, 1, 2, 3)
    )
    assert [mask.shape[0] for mask in whole.attention] == [7] * 3 and any(mask.any() for mask in whole.attention)
    for other in others:
        assert np.array_equal(whole.id_map, other.id_map)
        for name, value in whole.values.items():
            torch.testing.assert_close(other.values[name], value, atol=1e-4, rtol=1e-4)


def test_flipped_bits_are_counted():
    comparisons = [c for c in compare_windows(Fixture.read(FOLDERS[0]), windows=(3,)) if 'attention' in c.name]
    assert [c.name for c in comparisons] == [f'{system}.window 3.attention masks' for system in SYSTEMS]
    assert all(c.found.endswith('bits flipped') and ' of 21168 ' in c.found for c in comparisons)


@pytest.mark.parametrize('root, maps', [(DATA / 'parity', 1), (SHARED, 2)], ids=['excerpt', 'complete'])
def test_parts_of_dvis_plus_and_both_adapters_agree(root, maps):
    """The fixtures in the repository are excerpts: each adapter has the maps of one of the two inputs."""
    if not root.is_dir():
        pytest.skip('the complete fixtures are not part of the repository')
    comparisons = compare_fixtures(root / 'dvis_plus')
    text, holds = report(comparisons)
    assert holds and len(comparisons) == 9 + 2 * (2 + 4 * maps), text
    assert {c.verdict for c in comparisons} == {'ok'}


def test_a_changed_adapter_is_found_out(tmp_path):
    folder = tmp_path / 'plus'
    shutil.copytree(DATA / 'parity' / 'dvis_plus', folder)
    with np.load(folder / 'adapter_mlp_state_dict.npz') as arrays:
        weights = dict(arrays)
    weights['level_embed'] = weights['level_embed'] + np.float16(0.1)
    (folder / 'adapter_mlp_state_dict.npz').unlink()
    np.savez(folder / 'adapter_mlp_state_dict.npz', **weights)
    verdicts = {c.name: c.verdict for c in compare_fixtures(folder)}
    assert verdicts['adapter_mlp.square_f2'] == 'FAIL' and verdicts['adapter_swiglufused.f2'] == 'ok'


def test_a_changed_weight_is_found_out(tmp_path):
    """A parity check must fail for wrong weights."""
    folder = tmp_path / 'plus'
    shutil.copytree(DATA / 'parity' / 'dvis_plus', folder)
    with np.load(folder / 'dvis_plus_tracker_state_dict.npz') as arrays:
        weights = dict(arrays)
    weights['ref_proj.layers.1.bias'] = weights['ref_proj.layers.1.bias'] + np.float16(0.05)
    np.savez(folder / 'dvis_plus_tracker_state_dict.npz', **weights)
    verdicts = {c.name: c.verdict for c in compare_fixtures(folder)}
    assert verdicts['dvis_plus.tracker.pred_references'] == 'FAIL' and verdicts['dvis_plus.indices'] == 'ok'
    assert verdicts['dvis_plus.refiner.pred_logits'] == 'ok'


def test_the_tool_fails_because_of_a_figure(tmp_path, monkeypatch, capsys):
    kinds = [(files, partial(compare, draws=60) if compare is compare_losses else compare) for files, compare in KINDS]
    monkeypatch.setattr('mmdvis.testing.parity.fixtures.FIXTURE_KINDS', kinds)
    folder = tmp_path / 'losses'
    shutil.copytree(DATA / 'parity' / 'losses', folder)
    expected = json.loads((folder / 'expected.json').read_text())
    expected['tracker']['losses']['loss_ce']['mean'] += 0.001
    (folder / 'expected.json').write_text(json.dumps(expected))
    monkeypatch.setattr('sys.argv', ['check_parity.py', str(folder)])
    assert load('tools/analysis_tools/check_parity.py').main() == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith('FAIL')]
    assert len(failed) == 1 and failed[0].split()[1] == 'tracker.loss_ce'


def test_losses_agree():
    text, holds = report(compare_losses(DATA / 'parity' / 'losses', draws=60))
    assert holds and text.count('matching') == 6 and text.count('standard errors') == 12, text


def test_a_folder_says_of_which_kind_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match='there is no folder'):
        compare_fixtures(tmp_path / 'none')
    with pytest.raises(
        ValueError, match=r'contains no fixtures; a folder of fixtures must contain one of: official_state_dict.npz \+'
    ):
        compare_fixtures(tmp_path)


def test_a_wrong_value_is_seen():
    comparisons = [
        compare_values('x', torch.ones(2), np.array([1.0, 1.001])),
        compare_pixels('y', np.zeros(10000), np.arange(10000) == 3),
    ]
    text, holds = report(comparisons)
    assert not holds and text.startswith('FAIL x  largest error 1.00e-03 absolute') and 'ok   y  99.9900 %' in text
    assert compare_values('x', torch.ones(3), np.ones(2)).verdict == 'FAIL'
    assert compare_values('x', torch.tensor([float('nan')]), np.ones(1)).verdict == 'FAIL'
    assert compare_pixels('y', np.zeros(1000), np.arange(1000) == 3).verdict == 'FAIL'
    assert compare_pixels('y', np.zeros((2, 3)), np.zeros((3, 2))).verdict == 'FAIL'
    assert compare_equal('z', [1], [2]) == Comparison('z', 'FAIL', 'is [1], should be [2]')


def test_means_of_draws_are_judged_by_their_spread():
    drawn = np.array([1.0, 1.2, 0.8, 1.0])  # standard error 0.0816
    assert mean_deviation('x', drawn, dict(mean=1.3, stderr=0.01)).verdict == 'ok'
    assert mean_deviation('x', drawn, dict(mean=1.4, stderr=0.01)).verdict == 'FAIL'
    assert mean_deviation('x', np.ones(4), dict(mean=1.00005, stderr=0.0)).verdict == 'ok'
    assert mean_deviation('x', np.ones(4), dict(mean=1.0002, stderr=0.0)).verdict == 'FAIL'


def test_an_official_file_is_loaded_as_it_is(tmp_path):
    """``init_model`` recognises and converts it, and sets the options that released weights need."""
    folder = DATA / 'parity' / 'dvis_swin'
    fixture = Fixture.read(folder)
    config = model_config(fixture.info, 'DVIS_offline', 'vps')
    del config['tracker']['legacy_inverse_match'], config['tracker']['context']
    model = init_model(Config(dict(model=config)), folder / 'official_state_dict.npz')
    assert model.tracker.legacy_inverse_match and model.tracker.context == 'first_frame'
    result = model.predict([fixture.source], [VideoDataSample()])[0].pred_panoptic
    expected = fixture.expected['DVIS_offline.vps.panoptic']
    assert (result.id_map.numpy() == expected).mean() >= 0.9995
