"""Deformable attention on the CPU: the package's gather beside ``grid_sample``, forward and with gradients, in one run.

Sizes of the pixel decoder at 480 x 640: values 6,300 x 8 x 32, levels 15 x 20, 30 x 40, 60 x 80, 6,300 queries, 4 points.
"""

import argparse
import time
from collections.abc import Callable

import torch
from prettytable import PrettyTable
from torch import Tensor

from mmdvis.models.functional.deform_attn import gathered_attention
from mmdvis.testing.plain_paths import grid_sample_attention

SHAPES, HEADS, WIDTH, POINTS = [(15, 20), (30, 40), (60, 80)], 8, 32, 4


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=1)
    parser.add_argument('--times', type=int, default=9, help='runs of each; the median counts')
    parser.add_argument('--threads', type=int, default=2)
    return parser.parse_args()


def median_ms(attention: Callable[..., Tensor], inputs: list[Tensor], times: int, learns: bool) -> float:
    """Milliseconds of a run, with gradients of all inputs if it ``learns``."""
    found = []
    for _ in range(times + 1):
        value, locations, weights = (x.clone().requires_grad_(learns) for x in inputs)
        start = time.perf_counter()
        mixed = attention(value, SHAPES, locations, weights)
        if learns:
            mixed.backward(torch.ones_like(mixed))
        found.append(1e3 * (time.perf_counter() - start))
    return sorted(found[1:])[times // 2]


def main() -> None:
    """Both ways, both forms."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    tokens = sum(h * w for h, w in SHAPES)
    locations = 1.2 * torch.rand(args.frames, tokens, HEADS, len(SHAPES), POINTS, 2) - 0.1
    weights = (
        torch.rand(args.frames, tokens, HEADS, len(SHAPES) * POINTS).softmax(-1).unflatten(-1, (len(SHAPES), POINTS))
    )
    inputs = [torch.randn(args.frames, tokens, HEADS, WIDTH), locations, weights]
    rows = PrettyTable(['', 'grid_sample ms', 'ours ms', 'ratio'])
    for name, learns in (('forward', False), ('forward and backward', True)):
        plain, ours = (
            median_ms(way, inputs, args.times, learns) for way in (grid_sample_attention, gathered_attention)
        )
        rows.add_row([name, f'{plain:.1f}', f'{ours:.1f}', f'{plain / ours:.2f}'])
    print(rows)


if __name__ == '__main__':
    main()
