"""Checkpoints are untrusted."""
import os

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmdvis.structures import read_checkpoint, state_dict_of


class Payload:
    """Runs a command when it is unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}', )


class Attribute:
    """Asks for an attribute of an arbitrary object."""

    def __reduce__(self):
        return getattr, (np.ndarray, 'tofile')


@pytest.mark.parametrize('name', ['state_dict', 'extra'])
def test_a_payload_is_not_run(tmp_path, name):
    mark = tmp_path / 'mark'
    torch.save({'state_dict': {'x': torch.ones(1)}, name: Payload(mark)}, tmp_path / 'bad.pth')
    with pytest.raises(ValueError, match='bad.pth was not loaded: it holds objects other than tensors'):
        read_checkpoint(tmp_path / 'bad.pth')
    assert not mark.exists()


def test_getattr_serves_log_buffers_only(tmp_path):
    torch.save({'x': Attribute()}, tmp_path / 'bad.pth')
    with pytest.raises(ValueError, match='was not loaded'):
        read_checkpoint(tmp_path / 'bad.pth')


def test_mmengines_log_buffers_are_read(tmp_path):
    buffer = HistoryBuffer()
    buffer.update(3.)
    content = dict(state_dict=dict(x=torch.ones(2)), message_hub=dict(log_scalars=dict(loss=buffer)), meta=dict(iter=4))
    torch.save(content, tmp_path / 'good.pth')
    loaded = read_checkpoint(tmp_path / 'good.pth')
    assert loaded['message_hub']['log_scalars']['loss'].current() == 3. and loaded['meta'] == dict(iter=4)


def test_arrays_become_tensors(tmp_path):
    np.savez(tmp_path / 'w.npz', a=np.ones(2, np.float16), n=np.arange(3))
    loaded = read_checkpoint(tmp_path / 'w.npz')
    assert loaded['a'].dtype == torch.float32 and loaded['n'].tolist() == [0, 1, 2]


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='no checkpoint file .*none.pth'):
        read_checkpoint(tmp_path / 'none.pth')
    torch.save(dict(x=torch.ones(1000)), tmp_path / 'cut.pth')
    data = (tmp_path / 'cut.pth').read_bytes()
    (tmp_path / 'cut.pth').write_bytes(data[:len(data) // 2])
    with pytest.raises(ValueError, match='cut.pth'):
        read_checkpoint(tmp_path / 'cut.pth')


def test_weights_are_found_where_authors_put_them():
    x = torch.ones(1)
    for content in (dict(state_dict=dict(a=x)), dict(model=dict(a=x), iteration=3), dict(a=x, note='hello')):
        assert list(state_dict_of(content)) == ['a']
