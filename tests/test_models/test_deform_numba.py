"""Deformable attention by Numba against its definition in float64."""

import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numba.core import caching, config
from torch.autograd import forward_ad

from mmdvis.analysis.flops import count_ops
from mmdvis.models.functional import deform_attn, deform_numba
from mmdvis.models.functional.deform_attn import deformable_attention, grid_sample_attention, sampling_locations
from mmdvis.models.functional.numba_support import CONTRACTED, EXACT, compiled
from mmdvis.models.layers.ms_deform_attn import MSDeformAttn

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


@contextmanager
def torch_threads(number):
    """Sets the number of threads of PyTorch."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    value, *others = arguments([(6, 9), (3, 4)], width=32, queries=70, dtype=torch.bfloat16)
    value[0, 5, 1, 3], value[1, 2, 0, 1] = float('nan'), float('inf')
    found = deform_numba.numba_attention(value, *others)
    assert found.dtype == torch.bfloat16
    expected = deform_numba.numba_attention(value.float(), *others).bfloat16()
    assert torch.equal(found.nan_to_num(7), expected.nan_to_num(7)) and found.isnan().any() and found.isinf().any()


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
    given = arguments([(4, 5), (7, 3)], queries=75)
    with torch_threads(threads):
        found = deform_numba.numba_attention(*given)
    one_by_one = [
        deform_numba.numba_attention(v[None], given[1], given[2][n : n + 1], o[None, n : n + 1], w[None, n : n + 1])
        for v, o, w in zip(given[0], given[3], given[4])
        for n in range(75)
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


def test_arguments_that_do_not_match_are_refused():
    value, shapes, reference, offsets, weights = arguments([(4, 5), (7, 3)])
    for given in (
        (value[:, :-1], shapes, reference, offsets, weights),
        (value, shapes[:1], reference, offsets, weights),
        (value, shapes, reference, offsets[:, :-1], weights),
        (value, shapes, reference, offsets, weights[:, :, :2]),
        (value, [(4, 5), (0, 4), (7, 3)], reference, offsets, weights),
        (value[:, :4], [(0, 5), (2, 2)], reference, offsets, weights),
        (value, shapes, reference, offsets[..., :0, :], weights[..., :0]),
    ):
        with pytest.raises(ValueError, match='do not match values of .2, '):
            deform_numba.numba_attention(*given)
    with pytest.raises(RuntimeError):
        deform_numba.numba_attention(value, shapes, reference[:2], offsets, weights)
    one = deform_numba.numba_attention(value, list(map(list, shapes)), reference[:1], offsets, weights)
    all_queries = reference[:1].expand(6, -1, -1)
    assert torch.equal(one, deform_numba.numba_attention(value, shapes, all_queries, offsets, weights))


def test_parameters_without_gradients():
    value, *others = arguments([(4, 5), (7, 3)])
    with torch.no_grad():
        found = deform_numba.numba_attention(torch.nn.Parameter(value), *others)
    assert torch.equal(found, deform_numba.numba_attention(value, *others))


def test_no_queries():
    given = arguments([(4, 5)], queries=1)
    empty = given[0], given[1], given[2][:0], given[3][:, :0], given[4][:, :0]
    assert deform_numba.numba_attention(*empty).shape == (2, 0, 24)


def test_parts_that_openmp_does_not_run_are_run_afterwards(monkeypatch):
    monkeypatch.setattr(deform_numba, 'MIN_SAMPLES', 1)
    openmp, given = deform_numba.openmp(), arguments([(4, 5), (7, 3)])
    expected = deform_numba.numba_attention(*given)

    def one_thread(run, data, threads, flags):
        openmp.GOMP_parallel(run, data, 1, flags)

    limited = SimpleNamespace(GOMP_parallel=one_thread, omp_get_thread_num=openmp.omp_get_thread_num)
    monkeypatch.setattr(deform_numba, 'openmp', lambda: limited)
    with torch_threads(4):
        assert torch.equal(deform_numba.numba_attention(*given), expected)


def in_threads(attend, threads, queries=8):
    """Runs a Python function in place of the kernel."""
    with torch_threads(threads):
        deform_numba.run_in_threads(attend, (np.zeros(queries),), deform_numba.MIN_SAMPLES)


@pytest.mark.parametrize('threads, queries, parts', [(2, 8, 2), (3, 8, 3), (4, 2, 2), (1, 8, 1)])
def test_the_threads_of_openmp_share_the_queries(threads, queries, parts):
    barrier, done, names = threading.Barrier(parts), [], set()

    def attend(_, start, stop):
        barrier.wait(20)
        names.add(threading.get_ident())
        done.extend(range(start, stop))

    in_threads(attend, threads, queries)
    assert len(names) == parts and sorted(done) == list(range(queries))


def test_teams_are_never_smaller_than_those_of_pytorch(monkeypatch):
    teams = []

    def record(run, data, threads, flags):
        teams.append(threads)

    library = SimpleNamespace(GOMP_parallel=record, omp_get_thread_num=lambda: 0)
    monkeypatch.setattr(deform_numba, 'openmp', lambda: library)
    in_threads(lambda *_: None, 4, queries=2)
    assert teams == [4]


@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit, ZeroDivisionError])
@pytest.mark.parametrize('first', [0, 4])
def test_errors_and_interrupts_in_threads_are_raised(error, first):
    def attend(_, start, stop):
        if start == first:
            raise error

    with pytest.raises(error):
        in_threads(attend, 2)


def test_python_threads_do_not_disturb_each_other(monkeypatch):
    monkeypatch.setattr(deform_numba, 'MIN_SAMPLES', 1)
    given = [arguments([(4, 5), (7, 3)], queries=queries) for queries in range(1, 9)]
    expected = [deform_numba.numba_attention(*one) for one in given]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for one, other in zip(pool.map(lambda one: deform_numba.numba_attention(*one), given), expected):
                assert torch.equal(one, other)


def test_a_cpu_without_gradients_takes_the_kernel(monkeypatch):
    monkeypatch.setattr(deform_numba, 'numba_attention', lambda *_: 'numba')
    monkeypatch.setattr(deform_attn, 'gathered_attention', lambda *_: 'gathered')
    monkeypatch.setattr(deform_attn, 'numba_runs', lambda width, dtype: True)
    value, shapes, *others = arguments([(4, 5)])
    assert deformable_attention(value, shapes, *others) == 'numba'
    assert deformable_attention(value.bfloat16(), shapes, *others) == 'numba'
    assert deformable_attention(value.double(), shapes, *others) == 'gathered'
    assert deformable_attention(value.half(), shapes, *others) == 'gathered'
    assert deformable_attention(value, shapes, others[0], others[1].bfloat16(), others[2]) == 'gathered'
    assert count_ops(lambda: deformable_attention(value, shapes, *others))[0] == 'gathered'
    many = torch.zeros(1, 1 << 22, 4, 1)
    assert deformable_attention(many, shapes, *others) == 'gathered'
    assert deformable_attention(many[:, 1:], shapes, *others) == 'numba'
    for k in range(4):
        given = [x.clone().requires_grad_(k == i) for i, x in enumerate((value, *others))]
        assert deformable_attention(given[0], shapes, *given[1:]) == 'gathered'
        with torch.no_grad():
            assert deformable_attention(given[0], shapes, *given[1:]) == 'numba'
    with forward_ad.dual_level():
        assert deformable_attention(forward_ad.make_dual(value, value), shapes, *others) == 'gathered'
    for module, name in ((torch.compiler, 'is_compiling'), (torch.jit, 'is_tracing')):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, lambda: True)
            assert deformable_attention(value, shapes, *others) == 'gathered'
    assert deformable_attention(value, shapes, *others) == 'numba'


def test_traced_modules_are_exact():
    layer = MSDeformAttn(16, num_heads=2, num_levels=2, num_points=2).requires_grad_(False)
    shapes, query, reference = [(4, 5), (2, 3)], torch.randn(1, 26, 16), torch.rand(26, 2, 2)
    traced = torch.jit.trace(lambda q: layer(q, reference, q, shapes), query, check_trace=False)
    other = torch.randn(1, 26, 16)
    torch.testing.assert_close(traced(other), layer(other, reference, other, shapes), atol=1e-5, rtol=1e-4)


@pytest.fixture
def untried():
    """Forgets whether the kernel works, before and after a test."""
    deform_attn.numba_runs.cache_clear()
    yield
    deform_attn.numba_runs.cache_clear()


@pytest.mark.parametrize('failure', [ImportError('Numba needs NumPy 2.5 or less'), RuntimeError('LLVM')])
def test_without_numba_there_is_one_warning(failure, untried, monkeypatch):
    def fail(*_):
        raise failure

    monkeypatch.setitem(
        sys.modules, 'mmdvis.models.functional.deform_numba', SimpleNamespace(numba_attention=fail, openmp=None)
    )
    given = arguments([(4, 5)])
    with pytest.warns(UserWarning, match=f'Numba is not usable .{type(failure).__name__}: {failure}.* runs in PyTorch'):
        found = deformable_attention(*given)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert torch.equal(deformable_attention(*given), found)
    torch.testing.assert_close(found.double(), definition(*given), atol=2e-5, rtol=1e-5)


def test_without_openmp_rows_are_gathered(untried, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(deform_numba, 'openmp', lambda: None)
        assert not deform_attn.numba_runs(8, torch.float32)
    deform_attn.numba_runs.cache_clear()
    assert deform_attn.numba_runs(8, torch.float32)


def test_default_types_and_devices_do_not_matter(untried):
    given = arguments([(4, 5)])
    expected = deform_numba.numba_attention(*given)
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device('meta'):
            assert deform_attn.numba_runs(8, torch.bfloat16)
            assert torch.equal(deformable_attention(*given), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize('failure', [RuntimeError('no folder'), OSError(28, 'no space'), EOFError()])
@pytest.mark.parametrize('method', ['load_overload', 'save_overload'])
def test_the_cache_of_numba_is_not_needed(failure, method, monkeypatch):
    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(caching.FunctionCache, method, fail)
    if method == 'save_overload':
        monkeypatch.setattr(caching.FunctionCache, 'load_overload', lambda *_: None)
    deform_numba.kernel.cache_clear()
    given = arguments([(4, 5)])
    found = deform_numba.numba_attention(*given)
    deform_numba.kernel.cache_clear()
    torch.testing.assert_close(found.double(), definition(*given), atol=2e-5, rtol=1e-5)


def test_a_cache_without_a_folder_is_not_needed(monkeypatch):
    monkeypatch.setattr(caching.FunctionCache, '_impl_class', None)
    deform_numba.kernel.cache_clear()
    given = arguments([(4, 5)])
    torch.testing.assert_close(deform_numba.numba_attention(*given).double(), definition(*given), atol=2e-5, rtol=1e-5)
    deform_numba.kernel.cache_clear()


def test_a_disabled_compiler_is_not_used(untried, monkeypatch):
    monkeypatch.setattr(config, 'DISABLE_JIT', 1)
    deform_numba.kernel.cache_clear()
    with pytest.warns(UserWarning, match='its compiler is disabled'):
        assert not deform_attn.numba_runs(8, torch.float32)
    deform_numba.kernel.cache_clear()


def test_options_belong_to_the_index():
    def first():
        pass

    def second():
        pass

    second.__qualname__ = first.__qualname__
    names = [compiled(f, (), options).__qualname__ for f, options in ((first, EXACT), (second, CONTRACTED))]
    assert names[0] != names[1]


def test_each_kernel_has_its_own_index():
    names = [deform_numba.kernel(width, is_half).__qualname__ for width in (8, 16) for is_half in (False, True)]
    assert len(set(names)) == 4
