"""Tensors on disk under keys of what they were computed from."""

import pytest
import torch

from mmdvis.errors import OptionError
from mmdvis.io import TensorCache


def test_entries_come_back_bit_by_bit(tmp_path):
    cache = TensorCache(str(tmp_path))
    whole = torch.randn(100, 5)
    given = dict(a=whole[:2], b=torch.tensor([True, False]), c=torch.randn(3).bfloat16(), d=torch.arange(3))
    key = cache.key('text', whole)
    assert cache.get(key) is None
    cache.put(key, given)
    found = TensorCache(str(tmp_path)).get(key)
    assert found.keys() == given.keys()
    assert all(torch.equal(found[name], given[name]) and found[name].dtype == given[name].dtype for name in given)
    assert cache.path(key).stat().st_size < 4000  # the view of two rows does not store all hundred


def test_keys_tell_values_types_shapes_and_texts_apart(tmp_path):
    cache, x = TensorCache(str(tmp_path)), torch.zeros(2, 3)
    keys = [
        cache.key(*parts) for parts in [(x,), (x.view(3, 2),), (x.int(),), (x + 1e-30,), ('a', x), (x, 'a'), (x, x)]
    ]
    assert len(set(keys)) == len(keys)
    assert cache.key(x.T.contiguous().T) == keys[0]  # the layout in memory does not count


def test_a_fingerprint_follows_changes_in_place(tmp_path):
    cache, layer = TensorCache(str(tmp_path)), torch.nn.Linear(2, 2)
    first = cache.fingerprint('layer', layer.state_dict().values())
    assert cache.fingerprint('layer', layer.state_dict().values()) == first
    assert cache.fingerprint('other', layer.state_dict().values()) != first
    with torch.no_grad():
        layer.bias[0] += 1
    second = cache.fingerprint('layer', layer.state_dict().values())
    assert second != first
    with torch.no_grad():
        layer.bias[0] -= 1
        layer.load_state_dict({name: value.clone() for name, value in layer.state_dict().items()})
    assert cache.fingerprint('layer', layer.state_dict().values()) not in (second,)


def test_a_full_cache_adds_nothing_more(tmp_path):
    cache = TensorCache(str(tmp_path), max_gb=1e-6)  # 1,000 bytes
    cache.put(cache.key('a'), dict(x=torch.zeros(200)))
    cache.put(cache.key('b'), dict(x=torch.zeros(200)))
    assert cache.get(cache.key('a')) is not None and cache.get(cache.key('b')) is None
    with pytest.raises(OptionError, match='max_gb must be positive and finite, got 0'):
        TensorCache(str(tmp_path), max_gb=0)


@pytest.mark.parametrize('content', [b'', b'no tensor', b'PK\x03\x04'])
def test_a_damaged_entry_is_replaced(tmp_path, content):
    cache = TensorCache(str(tmp_path))
    key = cache.key('a')
    cache.put(key, dict(x=torch.ones(2)))
    cache.path(key).write_bytes(content)
    assert cache.get(key) is None
    cache.put(key, dict(x=torch.ones(2)))
    assert torch.equal(cache.get(key)['x'], torch.ones(2))
