"""Measures deformable attention on the CPU: the gather of mmdvis against ``grid_sample``, forward and backward.

The sizes are those of the pixel decoder at 480 x 640: values 6,300 x 8 x 32, levels 15 x 20, 30 x 40 and 60 x 80, 6,300
queries, 4 points.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from prettytable import PrettyTable
from torch import Tensor

from mmdvis.models.functional.deform_attn import gathered_attention
from mmdvis.testing.plain_paths import grid_sample_attention

SHAPES, HEADS, WIDTH, POINTS = [(15, 20), (30, 40), (60, 80)], 8, 32, 4


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


def median_ms(attention: Callable[..., Tensor], inputs: list[Tensor], times: int, learns: bool) -> float:
    """Median milliseconds of a run, after one warm-up run.

    Args:
        attention: Function to measure.
        inputs: Values, sampling locations and attention weights.
        times: Number of runs.
        learns: Also compute the gradients of all inputs.
    """
    durations = []
    for _ in range(times + 1):
        value, locations, weights = (x.clone().requires_grad_(learns) for x in inputs)
        start = time.perf_counter()
        output = attention(value, SHAPES, locations, weights)
        if learns:
            output.backward(torch.ones_like(output))
        durations.append(1e3 * (time.perf_counter() - start))
    return sorted(durations[1:])[times // 2]


def main() -> None:
    """Runs the benchmark."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    tokens = sum(h * w for h, w in SHAPES)
    locations = 1.2 * torch.rand(args.frames, tokens, HEADS, len(SHAPES), POINTS, 2) - 0.1
    weights = (
        torch.rand(args.frames, tokens, HEADS, len(SHAPES) * POINTS).softmax(-1).unflatten(-1, (len(SHAPES), POINTS))
    )
    inputs = [torch.randn(args.frames, tokens, HEADS, WIDTH), locations, weights]
    table, results = PrettyTable(['', 'grid_sample ms', 'ours ms', 'ratio']), {}
    for name, with_backward in (('forward', False), ('forward and backward', True)):
        plain, ours = (
            median_ms(attention, inputs, args.times, with_backward)
            for attention in (grid_sample_attention, gathered_attention)
        )
        results[name] = dict(plain=plain, ours=ours)
        table.add_row([name, f'{plain:.1f}', f'{ours:.1f}', f'{plain / ours:.2f}'])
    print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
