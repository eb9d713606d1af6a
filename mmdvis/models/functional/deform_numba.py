"""Deformable attention by a Numba kernel for CPUs, without gradients; importing this requires Numba."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

FLOAT, WORD, INDEX = ir.FloatType(), ir.IntType(32), ir.IntType(64)
MIN_SAMPLES = 1 << 16  # samples per thread


@intrinsic
def sum_rows(typing: Any, table: Any, rows: Any, shares: Any, first: Any, count: Any, out: Any, width: Any) -> Any:
    """Weighted sum of table rows, computed in float32 in the registers of the CPU.

    Args:
        typing: Set by Numba.
        table: Rows of ``width`` values, flat, float32, or bfloat16 as uint16.
        rows: Rows (4, S) int32 of the four corners of all samples.
        shares: Their weights (4, S) float32.
        first: First sample.
        count: Number of samples.
        out: Result (heads, width) float32; the row ``first // count`` is written.
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
        builder.store(total, builder.bitcast(place, vector.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(table, rows, shares, types.int64, types.int64, out, width), generate


OPTIONS: dict[str, Any] = dict(nogil=True, error_model='numpy', fastmath={'contract', 'nsz'})


@njit(**OPTIONS)
def neighbours(
    positions: np.ndarray, last: np.ndarray, step: np.ndarray, first: np.ndarray, rows: np.ndarray, shares: np.ndarray
) -> None:
    """The two pixels around each sample along one axis; pixels outside the map have no weight.

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


@njit(**OPTIONS)
def corners(
    columns: np.ndarray, lines: np.ndarray, x: np.ndarray, y: np.ndarray, weights: np.ndarray, rows: Any, shares: Any
) -> None:
    """The four pixels around each sample.

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
def kernel(width: int) -> Callable[..., None]:
    """Compiled deformable attention for heads with ``width`` channels; Numba keeps the machine code in its cache."""

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
            out: Attended values (N, heads, width) float32, which are written.
            start: First query.
            stop: End of the queries.
        """
        samples, heads = levels.shape[1], out.shape[1]
        places, rows = np.empty((2, samples), np.float32), np.empty((8, samples), np.int32)
        shares = np.empty((8, samples), np.float32)
        for n in range(start, stop):
            for axis in range(2):
                for k in range(samples):
                    places[axis, k] = reference[n, level[k], axis]
                for k in range(samples):
                    places[axis, k] += offsets[n, k, axis]
            neighbours(places[0], levels[0], levels[1], levels[2], rows[4:6], shares[4:6])
            neighbours(places[1], levels[3], levels[4], levels[5], rows[6:], shares[6:])
            corners(rows[4:6], rows[6:], shares[4:6], shares[6:], weights[n], rows[:4], shares[:4])
            for head in range(heads):
                sum_rows(table, rows, shares, head * (samples // heads), samples // heads, out[n], width)

    try:
        return njit(cache=True, **OPTIONS)(attend)
    except RuntimeError:  # the cache has no folder that can be written
        return njit(**OPTIONS)(attend)


@cache
def pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of a process; those of its parent do not exist in a forked one."""
    return ThreadPoolExecutor(threads, 'deformable attention')


def numba_attention(
    value: Tensor, shapes: Sequence[tuple[int, int]], reference: Tensor, offsets: Tensor, weights: Tensor
) -> Tensor:
    """Deformable attention by a Numba kernel, with the number of threads of PyTorch.

    The arguments are those of :func:`mmdvis.models.functional.deform_attn.deformable_attention`.
    """
    (batch, _, heads, width), points = value.shape, offsets.shape[-2]
    levels, places = level_table(tuple(shapes), heads, points), heads * len(shapes) * points
    pixels = (reference * torch.tensor([(w, h) for h, w in shapes], dtype=torch.float32) - 0.5).numpy()
    out = torch.empty(batch, offsets.shape[1], heads, width)
    for b in range(batch):
        table = value[b].contiguous().flatten()
        table = table.view(torch.uint16) if table.dtype == torch.bfloat16 else table
        inputs = offsets[b].reshape(-1, places, 2), weights[b].reshape(-1, places)
        run_in_threads(
            (table.numpy(), *levels, pixels, *(x.contiguous().numpy() for x in inputs), out[b].numpy()), places, width
        )
    return out.flatten(2).to(value.dtype)


def run_in_threads(arrays: tuple[np.ndarray, ...], samples: int, width: int) -> None:
    """Runs the kernel for equal parts of the queries; see :func:`attend`."""
    queries = len(arrays[-1])
    parts = min(torch.get_num_threads(), max(queries * samples // MIN_SAMPLES, 1))
    cuts = [queries * part // parts for part in range(parts + 1)]
    calls = [(*arrays, *span) for span in zip(cuts, cuts[1:])]
    others = [pool(torch.get_num_threads() - 1, os.getpid()).submit(kernel(width), *call) for call in calls[1:]]
    kernel(width)(*calls[0])
    for other in others:
        other.result()


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
