"""Options of publish_model.py: half precision, another config, further entries."""

import sys

import pytest
import torch
from helpers.commands import ROOT, load

from mmdvis.checkpoints import read_checkpoint

CONFIG = ROOT / 'configs' / 'toy' / 'minvis_r18_1xb8-t1_toy.py'


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Function that publishes weights with options and returns the content of the written file."""

    def run(weights, *options):
        torch.save(dict(state_dict=weights, meta=dict(cfg='data_root = "elsewhere"', seed=3)), tmp_path / 'run.pth')
        arguments = ['publish_model.py', tmp_path / 'run.pth', tmp_path / 'zoo' / 'model.pth', *options]
        monkeypatch.setattr(sys, 'argv', list(map(str, arguments)))
        load('tools/model_converters/publish_model.py').main()
        (path,) = (tmp_path / 'zoo').glob('*.pth')
        return read_checkpoint(path)

    return run


def test_half_precision_leaves_integers_alone(publish):
    content = publish(dict(weight=torch.tensor([0.1, 2.0]), steps=torch.tensor(70000)), '--half')
    assert content['state_dict']['weight'].dtype == torch.float16 and content['state_dict']['steps'] == 70000
    assert content['meta'] == dict(cfg='data_root = "elsewhere"')


def test_weights_that_half_precision_cannot_hold_are_refused(publish):
    with pytest.raises(SystemExit, match='error: weight is not finite in half precision; publish without --half'):
        publish(dict(weight=torch.tensor([1e6])), '--half')


def test_a_config_replaces_the_stored_one_and_entries_are_added(publish):
    content = publish(dict(weight=torch.ones(2)), '--config', CONFIG, '--info', 'commit=1a2b', 'command=make toy a=b')
    assert 'Mask2FormerSegmenter' in content['meta']['cfg'] and 'elsewhere' not in content['meta']['cfg']
    assert content['meta']['published'] == dict(commit='1a2b', command='make toy a=b')
    with pytest.raises(SystemExit, match="--info must have the form KEY=VALUE, got 'commit'"):
        publish(dict(weight=torch.ones(2)), '--info', 'commit')
