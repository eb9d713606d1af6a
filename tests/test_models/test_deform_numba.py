"""Deformable attention by Numba against its definition in float64."""

import multiprocessing
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch

from mmdvis.analysis.flops import count_ops
from mmdvis.models.functional import deform_attn
from mmdvis.models.functional.deform_attn import deformable_attention, grid_sample_attention, sampling_locations

deform_numba = pytest.importorskip('mmdvis.models.functional.deform_numba')

SHAPES = [[(4, 5), (7, 3)], [(8, 16), (1, 1)], [(1, 100)], [(1, 1), (2, 2), (9, 5)]]


def arguments(shapes, heads=3, width=8, points=4, queries=6, batch=2, dtype=torch.float32):
    """Arguments of deformable attention; a third of the samples lie outside of the maps, some on their edges."""
    generator = torch.Generator().manual_seed(0)
    tokens, levels = sum(h * w for h, w in shapes), len(shapes)
    value = torch.randn(batch, tokens, heads, width, generator=generator)
    reference = torch.rand(queries, levels, 2, generator=generator)
    size = torch.tensor([(w, h) for h, w in shapes])[:, None]
    offsets = torch.randn(batch, queries, heads, levels, points, 2, generator=generator) * 0.6 * size
    offsets[:, -1] = (offsets[:, -1] * 2).round() / 2
    reference[-1] = 0
    weights = torch.rand(batch, queries, heads, levels, points, generator=generator)
    return value.to(dtype), shapes, reference, offsets, weights


def definition(value, shapes, reference, offsets, weights):
    """Deformable attention with ``grid_sample`` in float64."""
    reference, offsets = reference.double(), offsets.double()
    locations = sampling_locations(reference, offsets, shapes)
    return grid_sample_attention(value.double(), shapes, locations, weights.double())


@pytest.mark.parametrize('shapes', SHAPES, ids=str)
@pytest.mark.parametrize('heads, width, points', [(3, 8, 4), (1, 32, 1), (2, 3, 5), (5, 1, 2), (1, 100, 3)])
def test_the_kernel_equals_the_definition(shapes, heads, width, points):
    given = arguments(shapes, heads, width, points)
    found = deform_numba.numba_attention(*given)
    torch.testing.assert_close(found.double(), definition(*given), atol=2e-5, rtol=1e-5)


def test_values_in_bfloat16_are_summed_in_float32():
    value, *others = arguments([(6, 9), (3, 4)], width=32, dtype=torch.bfloat16)
    found = deform_numba.numba_attention(value, *others)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, deform_numba.numba_attention(value.float(), *others).bfloat16())


@pytest.mark.parametrize('place', [-1e9, -3.0, 3.0, 1e9, float('inf'), -float('inf')])
@pytest.mark.parametrize('axis', [0, 1])
def test_samples_outside_of_the_map_are_zeros(place, axis):
    shapes = [(2, 3), (2, 2)]
    value, offsets = torch.rand(1, 10, 1, 4) + 1, torch.zeros(1, 1, 1, 2, 1, 2)
    offsets[..., axis] = place
    found = deform_numba.numba_attention(value, shapes, torch.full((1, 2, 2), 0.5), offsets, torch.ones(1, 1, 1, 2, 1))
    assert torch.equal(found, torch.zeros(1, 1, 4))


def test_nan_stays_where_it_is():
    value, shapes, reference, offsets, weights = arguments([(4, 5), (7, 3)])
    clean = deform_numba.numba_attention(value, shapes, reference, offsets, weights).unflatten(-1, (3, -1))
    for broken in (offsets[0, 1, 2, 0, 0], weights[0, 1, 2, 0]):
        kept = broken.clone()
        broken[:1] = float('nan')
        found = deform_numba.numba_attention(value, shapes, reference, offsets, weights).unflatten(-1, (3, -1))
        assert bool(found[0, 1, 2].isnan().all())
        found[0, 1, 2] = clean[0, 1, 2]
        assert torch.equal(found, clean)
        broken.copy_(kept)


@pytest.mark.parametrize('threads', [1, 2, 3, 7])
def test_threads_do_not_change_the_result(threads, monkeypatch):
    monkeypatch.setattr(deform_numba, 'MIN_SAMPLES', 1)
    given, number = arguments([(4, 5), (7, 3)], queries=5), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = deform_numba.numba_attention(*given)
    finally:
        torch.set_num_threads(number)
    one_by_one = [
        deform_numba.numba_attention(v[None], given[1], given[2][n : n + 1], o[None, n : n + 1], w[None, n : n + 1])
        for v, o, w in zip(given[0], given[3], given[4])
        for n in range(5)
    ]
    assert torch.equal(found, torch.cat(one_by_one, 1).view_as(found))


def test_arguments_of_any_strides():
    value, shapes, reference, offsets, weights = given = arguments([(4, 5), (7, 3)])
    strided = [
        x.flip(1).clone().flip(1).transpose(0, 1).contiguous().transpose(0, 1) for x in (value, offsets, weights)
    ]
    assert not any(x.is_contiguous() for x in strided)
    found = deform_numba.numba_attention(strided[0], shapes, reference, *strided[1:])
    assert torch.equal(found, deform_numba.numba_attention(*given))


def test_no_queries():
    given = arguments([(4, 5)], queries=1)
    empty = given[0], given[1], given[2][:0], given[3][:, :0], given[4][:, :0]
    assert deform_numba.numba_attention(*empty).shape == (2, 0, 24)


def parts_of_threads(given, found):
    """Puts whether a forked process gets the same result."""
    deform_numba.MIN_SAMPLES = 1
    torch.set_num_threads(2)
    found.put(bool(torch.equal(deform_numba.numba_attention(*given[:-1]), given[-1])))


def test_forked_processes_have_threads_of_their_own(monkeypatch):
    monkeypatch.setattr(deform_numba, 'MIN_SAMPLES', 1)
    given, number = arguments([(4, 5), (7, 3)]), torch.get_num_threads()
    context = multiprocessing.get_context('fork')
    found = context.SimpleQueue()
    try:
        torch.set_num_threads(2)
        expected = deform_numba.numba_attention(*given)
        process = context.Process(target=parts_of_threads, args=((*given, expected), found))
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeprecationWarning)  # of forking a process with threads
            process.start()
        process.join(60)
    finally:
        torch.set_num_threads(number)
    assert process.exitcode == 0 and found.get()


def test_a_cpu_without_gradients_takes_the_kernel(monkeypatch):
    monkeypatch.setattr(deform_numba, 'numba_attention', lambda *_: 'numba')
    monkeypatch.setattr(deform_attn, 'gathered_attention', lambda *_: 'gathered')
    monkeypatch.setattr(deform_attn, 'numba_runs', lambda: True)
    value, shapes, *others = arguments([(4, 5)])
    assert deformable_attention(value, shapes, *others) == 'numba'
    assert deformable_attention(value.bfloat16(), shapes, *others) == 'numba'
    assert deformable_attention(value.double(), shapes, *others) == 'gathered'
    assert deformable_attention(value.half(), shapes, *others) == 'gathered'
    assert deformable_attention(value, shapes, others[0], others[1].bfloat16(), others[2]) == 'gathered'
    assert count_ops(lambda: deformable_attention(value, shapes, *others))[0] == 'gathered'
    learned = value.clone().requires_grad_()
    assert deformable_attention(learned, shapes, *others) == 'gathered'
    with torch.no_grad():
        assert deformable_attention(learned, shapes, *others) == 'numba'
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)
    assert deformable_attention(value, shapes, *others) == 'gathered'


@pytest.mark.parametrize('failure', [ImportError('Numba needs NumPy 2.5 or less'), RuntimeError('LLVM')])
def test_without_numba_there_is_one_warning(failure, monkeypatch):
    def fail(*_):
        raise failure

    monkeypatch.setitem(sys.modules, 'mmdvis.models.functional.deform_numba', SimpleNamespace(numba_attention=fail))
    deform_attn.numba_runs.cache_clear()
    given = arguments([(4, 5)])
    with pytest.warns(UserWarning, match=f'Numba is not usable .{type(failure).__name__}.* runs in PyTorch'):
        found = deformable_attention(*given)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert torch.equal(deformable_attention(*given), found)
    deform_attn.numba_runs.cache_clear()
    torch.testing.assert_close(found.double(), definition(*given), atol=2e-5, rtol=1e-5)


def test_the_cache_of_numba_is_not_needed(tmp_path):
    code = (
        'import numba.core.caching as caching\n'
        'caching.CacheImpl._locator_classes = []\n'
        'from mmdvis.models.functional.deform_attn import numba_runs\n'
        'assert numba_runs()'
    )
    subprocess.run([sys.executable, '-W', 'error::UserWarning:mmdvis', '-c', code], check=True, cwd=tmp_path)
