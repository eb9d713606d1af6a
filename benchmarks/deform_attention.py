"""Measures the implementations of deformable attention on the CPU: ``grid_sample``, gathered rows, and Numba.

The sizes are those of the pixel decoder at 480 x 640: values 6,300 x 8 x 32, levels 15 x 20, 30 x 40 and 60 x 80, 6,300
queries, 4 points.
"""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from prettytable import PrettyTable
from torch import Tensor

from mmdvis.models.functional.deform_attn import gathered_attention, grid_sample_attention, sampling_locations
from mmdvis.models.functional.deform_numba import numba_attention
from mmdvis.models.layers.levels import grid_centres

SHAPES, HEADS, WIDTH, POINTS = [(15, 20), (30, 40), (60, 80)], 8, 32, 4
Attention = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def parse_args() -> argparse.Namespace:
    """Parses the command line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=1)
    parser.add_argument(
        '--times', type=int, default=9, help='number of runs; the median is reported (default: %(default)s)'
    )
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--json', type=Path, help='file to write the results to')
    return parser.parse_args()


def inputs(frames: int) -> list[Tensor]:
    """Random values, the places of the tokens as reference points, offsets of some pixels, and attention weights."""
    torch.manual_seed(0)
    tokens, levels = sum(h * w for h, w in SHAPES), len(SHAPES)
    weights = torch.rand(frames, tokens, HEADS, levels * POINTS).softmax(-1).unflatten(-1, (levels, POINTS))
    offsets = 4 * torch.randn(frames, tokens, HEADS, levels, POINTS, 2)
    value = torch.randn(frames, tokens, HEADS, WIDTH)
    reference = torch.cat([grid_centres(h, w, value) for h, w in SHAPES])[:, None].expand(-1, levels, -1)
    return [value, reference, offsets, weights]


def at_locations(
    implementation: Callable[..., Tensor], value: Tensor, reference: Tensor, offsets: Tensor, weights: Tensor
) -> Tensor:
    """Deformable attention with an implementation that takes sampling locations."""
    return implementation(value, SHAPES, sampling_locations(reference, offsets, SHAPES), weights)


def by_numba(value: Tensor, reference: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """Deformable attention with the Numba kernel."""
    return numba_attention(value, SHAPES, reference, offsets, weights)


def median_ms(attention: Attention, given: list[Tensor], times: int, learns: bool) -> float:
    """Median milliseconds of a run, after one warm-up run.

    Args:
        attention: Function to measure.
        given: Its arguments.
        times: Number of runs.
        learns: Also compute the gradients of values, offsets and weights.
    """
    durations = []
    for _ in range(times + 1):
        value, reference, offsets, weights = (x.clone() for x in given)
        for x in (value, offsets, weights):
            x.requires_grad_(learns)
        start = time.perf_counter()
        with torch.set_grad_enabled(learns):
            output = attention(value, reference, offsets, weights)
            if learns:
                output.backward(torch.ones_like(output))
        durations.append(1e3 * (time.perf_counter() - start))
    return sorted(durations[1:])[times // 2]


def main() -> None:
    """Runs the benchmark."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    given = inputs(args.frames)
    ways: dict[str, Attention] = dict(
        grid_sample=partial(at_locations, grid_sample_attention),
        gathered=partial(at_locations, gathered_attention),
        numba=by_numba,
    )
    table, results = PrettyTable(['', *(f'{name}, ms' for name in ways)]), {}
    for name, learns in (('forward', False), ('forward and backward', True)):
        found = {way: median_ms(ways[way], given, args.times, learns) for way in list(ways)[: 2 if learns else 3]}
        results[name] = found
        table.add_row([name, *(f'{found[way]:.1f}' if way in found else '' for way in ways)])
    print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
