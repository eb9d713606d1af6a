"""Deformable attention by a Numba kernel for CPUs, without gradients; importing this requires Numba."""

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from .numba_support import CONTRACTED, compiled

FLOAT, WORD, INDEX = ir.FloatType(), ir.IntType(32), ir.IntType(64)
MIN_SAMPLES = 1 << 16  # samples per thread
BLOCK = 32  # queries whose samples are computed together
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@intrinsic
def sum_rows(typing: Any, table: Any, rows: Any, shares: Any, first: Any, count: Any, out: Any, width: Any) -> Any:
    """Weighted sum of table rows, computed in float32 in the registers of the CPU. Values in bfloat16 are uint16 here.

    Args:
        typing: Set by Numba.
        table: Rows of ``width`` values, flat, float32 or bfloat16.
        rows: Rows (4, S) int32 of the four corners of all samples.
        shares: Their weights (4, S) float32.
        first: First sample.
        count: Number of samples.
        out: Result (heads, width) of the type of the table; the row ``first // count`` is written.
        width: Number of values in a row, a literal.
    """
    size = getattr(width, 'literal_value', None)
    if size is None:
        return None

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        vector, bits = ir.VectorType(FLOAT, size), ir.VectorType(WORD, size)
        arrays = [context.make_array(kind)(context, builder, args[k]) for k, kind in enumerate(signature.args[:3])]
        values, indices, factors = (array.data for array in arrays)
        samples = builder.extract_value(arrays[1].shape, 1)
        target = context.make_array(signature.args[5])(context, builder, args[5]).data
        is_half = signature.args[0].dtype == types.uint16

        def row_of_table(row: Any) -> Any:
            start = builder.gep(values, [builder.mul(builder.zext(row, INDEX), INDEX(size))])
            if not is_half:
                return builder.load(builder.bitcast(start, vector.as_pointer()), align=4)
            half = builder.load(builder.bitcast(start, ir.VectorType(ir.IntType(16), size).as_pointer()), align=2)
            return builder.bitcast(builder.shl(builder.zext(half, bits), bits([16] * size)), vector)

        totals = [cgutils.alloca_once_value(builder, vector([0.0] * size)) for _ in range(2)]
        with cgutils.for_range(builder, args[4], intp=INDEX) as loop:
            for corner in range(4):
                total, nowhere = totals[corner % 2], vector(ir.Undefined)
                at = builder.add(builder.add(args[3], loop.index), builder.mul(samples, INDEX(corner)))
                share = builder.insert_element(nowhere, builder.load(builder.gep(factors, [at])), WORD(0))
                share = builder.shuffle_vector(share, nowhere, bits([0] * size))
                row = row_of_table(builder.load(builder.gep(indices, [at])))
                product = builder.fmul(share, row, flags=('contract',))
                builder.store(builder.fadd(builder.load(total), product, flags=('contract',)), total)
        place = builder.gep(target, [builder.mul(builder.udiv(args[3], args[4]), INDEX(size))])
        total = builder.fadd(*map(builder.load, totals))
        if is_half:
            total = rounded_to_bfloat16(builder, total)
        builder.store(total, builder.bitcast(place, total.type.as_pointer()), align=2 if is_half else 4)
        return context.get_dummy_value()

    return types.void(table, rows, shares, types.int64, types.int64, out, width), generate


def rounded_to_bfloat16(builder: ir.IRBuilder, values: Any) -> Any:
    """Bits of a float32 vector rounded to the nearest bfloat16, halves to even."""
    size = values.type.count
    words, halves = ir.VectorType(WORD, size), ir.VectorType(ir.IntType(16), size)
    bits = builder.bitcast(values, words)
    odd = builder.and_(builder.lshr(bits, words([16] * size)), words([1] * size))
    rounded = builder.add(builder.add(bits, words([0x7FFF] * size)), odd)
    rounded = builder.trunc(builder.lshr(rounded, words([16] * size)), halves)
    return builder.select(builder.fcmp_unordered('uno', values, values), halves([0x7FC0] * size), rounded)


@njit(**CONTRACTED)
def neighbours(
    positions: np.ndarray, last: np.ndarray, step: np.ndarray, first: np.ndarray, rows: np.ndarray, shares: np.ndarray
) -> None:
    """Finds the two pixels next to each sample along one axis, and their bilinear weights, 0 outside of the map.

    Short loops over few arrays, here and in :func:`corners`, are those that the compiler vectorises.

    Args:
        positions: Positions (S,) in pixels; NaN gives a weight of NaN.
        last: Position (S,) of the last pixel of the map.
        step: Table rows (S,) between two pixels.
        first: Table row (S,) of the first pixel.
        rows: Table rows (2, S) of the two pixels, int32, which are written.
        shares: Their weights (2, S), which are written.
    """
    zero, one = np.float32(0), np.float32(1)
    row, next_row, share, next_share = rows[0], rows[1], shares[0], shares[1]
    for k in range(len(positions)):
        x, end = positions[k], last[k]
        x = -one if x < -one else (end + one if x > end + one else x)
        i = np.floor(x if x == x else zero)
        part = x - i
        share[k] = one - part if (i >= zero) & (i <= end) else zero
        next_share[k] = part if i < end else zero
        row[k] = np.int32(first[k] + min(max(i, zero), end) * step[k])
        next_row[k] = np.int32(first[k] + min(i + one, end) * step[k])


@njit(**CONTRACTED)
def corners(
    columns: np.ndarray, lines: np.ndarray, x: np.ndarray, y: np.ndarray, weights: np.ndarray, rows: Any, shares: Any
) -> None:
    """Combines the pixels of both axes into the four pixels around each sample, and their weights.

    Args:
        columns: Table rows (2, S) of the left and right pixels in a line.
        lines: Table rows (2, S) of the upper and lower lines.
        x: Weights (2, S) of left and right.
        y: Weights (2, S) of upper and lower.
        weights: Attention weights (S,).
        rows: Table rows (4, S) of the four pixels, which are written.
        shares: Their weights (4, S), which are written.
    """
    for j in range(2):
        for i in range(2):
            row, share, column, line, left, upper = rows[2 * j + i], shares[2 * j + i], columns[i], lines[j], x[i], y[j]
            for k in range(len(weights)):
                row[k] = column[k] + line[k]
                share[k] = weights[k] * upper[k] * left[k]


@cache
def kernel(width: int, is_half: bool) -> Callable[..., None]:
    """Compiled deformable attention.

    Args:
        width: Channels of a head.
        is_half: Whether values are bfloat16.
    """

    def attend(
        table: np.ndarray,
        levels: np.ndarray,
        level: np.ndarray,
        reference: np.ndarray,
        offsets: np.ndarray,
        weights: np.ndarray,
        out: np.ndarray,
        start: int,
        stop: int,
    ) -> None:
        """Deformable attention of the queries from ``start`` to ``stop``.

        Args:
            table: Values (tokens * heads * width,), float32, or bfloat16 as uint16.
            levels: Geometry (6, S) of the S samples of a query, see :func:`level_table`.
            level: Level (S,) of each sample.
            reference: Reference points (N, levels, 2) in pixels.
            offsets: Sampling offsets (N, S, 2) in pixels.
            weights: Attention weights (N, S).
            out: Attended values (N, heads, width) of the type of the table, which are written.
            start: First query.
            stop: End of the queries.
        """
        samples, heads = levels.shape[1], out.shape[1]
        points = samples // heads  # of all levels
        places = np.empty((2, samples), np.float32)
        rows, shares = np.empty((BLOCK, 8, samples), np.int32), np.empty((BLOCK, 8, samples), np.float32)
        for first in range(start, stop, BLOCK):
            last = min(first + BLOCK, stop)
            for n in range(first, last):
                row, share = rows[n - first], shares[n - first]
                for axis in range(2):
                    for k in range(samples):
                        places[axis, k] = reference[n, level[k], axis]
                    for k in range(samples):
                        places[axis, k] += offsets[n, k, axis]
                neighbours(places[0], levels[0], levels[1], levels[2], row[4:6], share[4:6])
                neighbours(places[1], levels[3], levels[4], levels[5], row[6:], share[6:])
                corners(row[4:6], row[6:], share[4:6], share[6:], weights[n], row[:4], share[:4])
            for head in range(heads):  # neighbouring queries read the same rows of a head
                for n in range(first, last):
                    sum_rows(table, rows[n - first], shares[n - first], head * points, points, out[n], width)

    attend.__qualname__ = f'attend_{width}_{"bfloat16" if is_half else "float32"}'
    return compiled(attend, no_queries(width, is_half), CONTRACTED)


def no_queries(width: int, is_half: bool) -> tuple[Any, ...]:
    """Empty arguments of a :func:`kernel`, which determine its types."""
    values, floats = np.uint16 if is_half else np.float32, np.float32
    shapes = dict(table=(0,), levels=(6, 0), level=(0,), reference=(0, 0, 2), offsets=(0, 0, 2), weights=(0, 0))
    types_of = dict(table=values, levels=floats, level=np.int64, reference=floats, offsets=floats, weights=floats)
    arrays = [np.empty(shape, types_of[name]) for name, shape in shapes.items()]
    return (*arrays, np.empty((0, 1, width), values), 0, 0)


def numba_attention(
    value: Tensor, shapes: Sequence[tuple[int, int]], reference: Tensor, offsets: Tensor, weights: Tensor
) -> Tensor:
    """Deformable attention by a Numba kernel, with the number of threads of PyTorch.

    The arguments are those of :func:`mmdvis.models.functional.deform_attn.deformable_attention`, on the CPU: finite
    values in float32 or bfloat16, all others in float32. Where values are infinite or NaN at the edge of a map, samples
    outside of it may become NaN.

    Raises:
        ValueError: Their shapes do not match, a level is empty, or there are 2**24 values of heads or more.
    """
    (batch, tokens, heads, width), (queries, points) = value.shape, (offsets.shape[1], offsets.shape[-2])
    grid = (batch, queries, heads, len(shapes), points)
    has_pixels = all(h > 0 and w > 0 for h, w in shapes) and points > 0 and tokens * heads < 1 << 24
    has_tokens = sum(h * w for h, w in shapes) == tokens
    if not has_pixels or not has_tokens or offsets.shape != (*grid, 2) or weights.shape != grid:
        raise ValueError(
            f'offsets and weights of {tuple(offsets.shape)} and {tuple(weights.shape)} do not match values of '
            f'{tuple(value.shape)} and levels of {list(shapes)}; levels and points must not be empty, and tokens times '
            'heads must be below 2**24'
        )
    levels, samples = level_table(tuple(map(tuple, shapes)), heads, points), heads * len(shapes) * points
    size = torch.tensor([(w, h) for h, w in shapes], dtype=torch.float32, device='cpu')
    pixels = as_array(reference.expand(queries, len(shapes), 2) * size - 0.5)
    out = torch.empty(batch, queries, heads, width, dtype=value.dtype, device='cpu')
    for b in range(batch):
        inputs = as_array(offsets[b]).reshape(queries, samples, 2), as_array(weights[b]).reshape(queries, samples)
        arrays = (as_array(value[b]).reshape(-1), *levels, pixels, *inputs, as_array(out[b]))
        run_in_threads(kernel(width, value.dtype == torch.bfloat16), arrays, samples)
    return out.flatten(2)


def as_array(x: Tensor) -> np.ndarray:
    """Array of a tensor, which shares its memory if it is contiguous; bfloat16 becomes uint16."""
    x = x.detach().contiguous()
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def run_in_threads(attend: Callable[..., None], arrays: tuple[np.ndarray, ...], samples: int) -> None:
    """Runs a kernel in the OpenMP threads of PyTorch, each of which processes an equal part of the queries.

    Threads of a separate pool would compete with those of PyTorch, which wait actively for their next work.

    Args:
        attend: Result of :func:`kernel`.
        arrays: Its arguments without the range of the queries.
        samples: Number of samples of a query.
    """
    queries, library = len(arrays[-1]), openmp()
    parts = min(torch.get_num_threads(), max(queries * samples // MIN_SAMPLES, 1))
    cuts = [queries * part // parts for part in range(parts + 1)]
    left: set[int] = set(range(parts))
    failures: list[BaseException] = []  # exceptions, and interrupts, cannot pass through OpenMP

    def run(_: None) -> None:
        try:
            part = library.omp_get_thread_num()
            if part in left:
                attend(*arrays, cuts[part], cuts[part + 1])
                left.discard(part)
        except BaseException as error:
            failures.append(error)

    if parts > 1 and library is not None:  # all threads, because OpenMP ends those that it is not asked for
        library.GOMP_parallel(CALLBACK(run), None, torch.get_num_threads(), 0)
    if failures:
        raise failures[0]
    for part in sorted(left):  # OpenMP may give fewer threads
        attend(*arrays, cuts[part], cuts[part + 1])


@cache
def openmp() -> ctypes.CDLL | None:
    """The library of PyTorch, through which the functions of its OpenMP are found; None if there are none."""
    name = 'libtorch_cpu.dylib' if sys.platform == 'darwin' else 'libtorch_cpu.so'
    try:
        library = ctypes.CDLL(str(Path(torch.__file__).parent / 'lib' / name))
        library.GOMP_parallel.argtypes = (CALLBACK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
        library.GOMP_parallel.restype = None
        library.omp_get_thread_num.restype = ctypes.c_int
    except (OSError, AttributeError):
        return None
    return library


@cache
def level_table(shapes: tuple[tuple[int, int], ...], heads: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Geometry of the S = heads * levels * points samples of a query.

    Returns:
        Last column, table rows between columns, first table row of a line, last line, table rows between lines and
        first table row of the level (6, S) float32; level (S,) of each sample.
    """
    starts = np.cumsum([0, *(height * width for height, width in shapes)])
    rows = [(w - 1, heads, 0, h - 1, w * heads, start * heads) for (h, w), start in zip(shapes, starts)]
    levels = np.tile(np.array(rows, np.float32).repeat(points, 0), (heads, 1)).T.copy()
    levels[2] = np.arange(heads).repeat(len(shapes) * points)
    return levels, np.tile(np.arange(len(shapes)).repeat(points), heads)
