"""Reading untrusted checkpoints."""

import argparse
import collections
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from mmdvis.checkpoints import read_checkpoint, state_dict_of
from mmdvis.checkpoints.reader import to_tensor
from mmdvis.errors import CheckpointError, DataError


class Payload:
    """Run a command when unpickled by an unsafe loader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


class Attribute:
    """Request an attribute of an arbitrary object when unpickled."""

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
    buffer.update(3.0)
    content = dict(state_dict=dict(x=torch.ones(2)), message_hub=dict(log_scalars=dict(loss=buffer)), meta=dict(iter=4))
    torch.save(content, tmp_path / 'good.pth')
    loaded = read_checkpoint(tmp_path / 'good.pth')
    assert loaded['message_hub']['log_scalars']['loss'].current() == 3.0 and loaded['meta'] == dict(iter=4)


def test_arrays_become_tensors(tmp_path):
    np.savez(tmp_path / 'w.npz', a=np.ones(2, np.float16), n=np.arange(3))
    loaded = read_checkpoint(tmp_path / 'w.npz')
    assert loaded['a'].dtype == torch.float32 and loaded['n'].tolist() == [0, 1, 2]


def write(path, content):
    """Write arrays to a file in the format of its suffix."""
    if path.suffix == '.pkl':
        path.write_bytes(pickle.dumps(dict(model=content, __author__='somebody')))
    elif path.suffix == '.npz':
        np.savez(path, **content)
    elif path.suffix == '.safetensors':
        save_file({name: torch.from_numpy(value) for name, value in content.items()}, path)
    else:
        torch.save(dict(model={name: torch.from_numpy(value) for name, value in content.items()}), path)


@pytest.mark.parametrize('suffix', ['.pkl', '.npz', '.safetensors', '.pth'])
def test_every_format_is_read_and_a_cut_one_is_not(tmp_path, suffix):
    content = dict(a=np.arange(600, dtype=np.float32), b=np.ones((2, 3), np.float32))
    path = tmp_path / f'w{suffix}'
    write(path, content)
    weights = state_dict_of(read_checkpoint(path))
    assert set(weights) == {'a', 'b'} and weights['b'].shape == (2, 3)
    assert torch.equal(weights['a'], torch.arange(600.0))
    data = path.read_bytes()
    for size in (len(data) // 2, len(data) - 3, 10, 0):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=rf'w{suffix} is not a readable checkpoint: \S.*') as error:
            read_checkpoint(path)
        assert '\n' not in str(error.value)


def test_a_missing_file_and_one_without_a_dict(tmp_path):
    with pytest.raises(FileNotFoundError, match='no checkpoint file .*none.pth'):
        read_checkpoint(tmp_path / 'none.pth')
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(
        ValueError, match='list.pth is not a checkpoint: it contains a list, a checkpoint must be a dict'
    ):
        read_checkpoint(tmp_path / 'list.pth')


@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_a_zoo_pickle_is_arrays_and_nothing_else(tmp_path, protocol):
    mark, weights = tmp_path / 'mark', collections.OrderedDict(x=np.ones(3, np.float16), n=np.int64(3))
    (tmp_path / 'good.pkl').write_bytes(pickle.dumps(dict(model=weights, matching_heuristics=True), protocol))
    loaded = state_dict_of(read_checkpoint(tmp_path / 'good.pkl'))
    assert list(loaded) == ['x'] and loaded['x'].dtype == torch.float32
    for bad in (Payload(mark), np.array([Payload(mark)], object), print, os.system, torch.ones(1)):
        (tmp_path / 'bad.pkl').write_bytes(pickle.dumps(dict(model=dict(weights, y=bad)), protocol))
        with pytest.raises(ValueError, match='bad.pkl was not loaded: it holds objects other than'):
            read_checkpoint(tmp_path / 'bad.pkl')
    assert not mark.exists()


@pytest.mark.parametrize('suffix', ['.pkl', '.pth'])
def test_trust_is_the_one_way_out(tmp_path, suffix):
    path = tmp_path / f'odd{suffix}'
    content = dict(model=dict(x=np.ones(2, np.float32)), note=argparse.Namespace(a=1))
    path.write_bytes(pickle.dumps(content)) if suffix == '.pkl' else torch.save(content, path)
    with pytest.raises(ValueError, match='only if you trust its author, load it with --trust'):
        read_checkpoint(path)
    assert torch.equal(state_dict_of(read_checkpoint(path, trust=True))['x'], torch.ones(2))


def test_weights_are_found_where_authors_put_them():
    x = torch.ones(1)
    for content in (dict(state_dict=dict(a=x)), dict(model=dict(a=x), iteration=3), dict(a=x, note='hello')):
        assert list(state_dict_of(content)) == ['a']


def test_an_absent_library_is_named(tmp_path):
    (tmp_path / 'd2.pkl').write_bytes(b'\x80\x04cdetectron9.structures\nBoxes\n.')
    with pytest.raises(
        ValueError, match=r'd2.pkl was not loaded: .* with --trust \(trust=True in Python\) \(GLOBAL det'
    ):
        read_checkpoint(tmp_path / 'd2.pkl')
    with pytest.raises(ValueError, match='d2.pkl was not loaded: it needs detectron9, which is not installed'):
        read_checkpoint(tmp_path / 'd2.pkl', trust=True)


def test_files_of_numpy_1_are_read(tmp_path):
    """NumPy 1 stores its functions under a different module name."""
    torch.save(dict(state_dict=dict(x=torch.ones(2)), loss=np.float64(0.5), curve=np.arange(3.0)), tmp_path / 'new.pth')
    with zipfile.ZipFile(tmp_path / 'new.pth') as new, zipfile.ZipFile(tmp_path / 'old.pth', 'w') as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b'numpy._core.multiarray', b'numpy.core.multiarray'))
    loaded = read_checkpoint(tmp_path / 'old.pth')
    assert loaded['loss'] == 0.5 and loaded['curve'].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize('protocol', [2, 4, 5])
def test_arrays_of_every_number_survive_a_pickle(tmp_path, protocol):
    arrays = {
        code: np.arange(6).reshape(2, 3).astype(code) for code in ('?', 'b', 'B', '<i2', '>i4', 'i8', 'e', 'f', '>d')
    }
    arrays.update(
        turned=np.arange(6.0).reshape(2, 3).T,
        fortran=np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        empty=np.zeros((0, 3)),
        point=np.array(2.5),
        big=np.float16(1.5),
        small=np.uint8(200),
    )
    (tmp_path / 'all.pkl').write_bytes(pickle.dumps(arrays, protocol))
    torch.save(arrays, tmp_path / 'all.pth')
    for name in ('all.pkl', 'all.pth'):
        loaded = read_checkpoint(tmp_path / name)
        for key, value in arrays.items():
            assert np.array_equal(loaded[key], value), key
            assert loaded[key].dtype.newbyteorder('=') == value.dtype.newbyteorder('='), key
    assert to_tensor(read_checkpoint(tmp_path / 'all.pkl')['>i4']).tolist() == [[0, 1, 2], [3, 4, 5]]
    again = pickle.loads(pickle.dumps(read_checkpoint(tmp_path / 'all.pkl')['f']))
    assert type(again) is np.ndarray  # a reloaded array can be pickled without classes of mmdvis


class Crooked:
    """Pickle as calls of NumPy functions with arbitrary arguments."""

    def __init__(self, *steps):
        self.steps = steps

    def __reduce__(self):
        return self.steps


RECONSTRUCT = np.zeros(1).__reduce__()[0]
OBJECTS = Crooked(np.dtype, ('O8', False, True), (3, '|', None, None, None, -1, -1, 0))
DOUBLE = np.dtype('f8')


@pytest.mark.parametrize(
    'crooked',
    [
        OBJECTS,
        Crooked(RECONSTRUCT, (np.ndarray, (0,), b'b'), (1, (1,), OBJECTS, False, b'A' * 8)),
        Crooked(RECONSTRUCT, (np.ndarray, (0,), b'b'), (1, (1000,), DOUBLE, False, b'A' * 8)),
        Crooked(RECONSTRUCT, (np.ndarray, (0,), b'b'), (1, (-1,), DOUBLE, False, b'A' * 8)),
        Crooked(RECONSTRUCT, (np.ndarray, (0,), b'b'), (1, (1,), DOUBLE, False, [print])),
        Crooked(np.dtype, ('f8', False, True), (3, '<', None, ('a',), {'a': 1}, -1, -1, 0)),
        Crooked(np.dtype, ('V8', False, True)),
        Crooked(np.float64(1).__reduce__()[0], (DOUBLE, b'AAA')),
    ],
    ids=['objects', 'array of objects', 'too short', 'negative', 'a list', 'fields', 'raw memory', 'scalar'],
)
@pytest.mark.parametrize('suffix', ['.pkl', '.pth'])
def test_arrays_cannot_reach_foreign_memory(tmp_path, crooked, suffix):
    """NumPy does not validate some of these arguments, and the process crashes."""
    path = tmp_path / f'bad{suffix}'
    path.write_bytes(pickle.dumps(dict(x=crooked))) if suffix == '.pkl' else torch.save(dict(x=crooked), path)
    with pytest.raises(ValueError, match=f'bad{suffix} was not loaded: it holds objects other than'):
        read_checkpoint(path)


@pytest.mark.parametrize('content', [{3: torch.ones(1)}, dict(x=np.array(['a', 'b']))])
def test_weights_have_names_and_numbers(content):
    with pytest.raises(ValueError, match='weights must be numeric and named by strings, got '):
        state_dict_of(dict(model=content))


def test_an_archive_that_grows_a_thousandfold_is_not_unpacked(tmp_path):
    """1 GiB of zeros in 1 MiB; a limit of memory would end the process if it were unpacked."""
    path = tmp_path / 'bomb.npz'
    with (
        zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive,
        archive.open('x.npy', 'w', force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, dict(descr='|u1', fortran_order=False, shape=(1 << 30,)))
        for _ in range(1 << 10):
            file.write(bytes(1 << 20))
    with pytest.raises(CheckpointError, match='need 1024 MiB, more than 100 times the size of the file'):
        read_checkpoint(path)


def test_an_array_that_claims_more_than_it_has_is_not_allocated(tmp_path):
    path = tmp_path / 'claim.npz'
    with zipfile.ZipFile(path, 'w') as archive, archive.open('x.npy', 'w') as file:
        np.lib.format.write_array_header_1_0(file, dict(descr='<f4', fortran_order=False, shape=(1 << 45,)))
        file.write(bytes(64))
    with pytest.raises(CheckpointError, match='the array x.npy claims 140737488355328 bytes, but has 64'):
        read_checkpoint(path)
    from mmdvis.io import read_flow

    with pytest.raises(DataError, match='cannot be read as optical flow .*claims 140737488355328 bytes'):
        read_flow(path)
