"""Compares the noise modes of denoising training on the toy videos: mean and standard deviation over several seeds.

The segmenter and the videos are those of ``make demo``. Each run trains a tracker with the recipe of ``configs/toy``
for ``--iters`` iterations; finished runs are not repeated. For comparison, the table includes the AP of each mode in
the LSVOS 2023 report (arXiv:2308.14392, ablation on OVIS, R50, 40,000 iterations).
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from prettytable import PrettyTable

ROOT = Path(__file__).resolve().parent.parent
PAPER_AP = {'none': 30.5, 'weighted': 31.7, 'crop-concat': 31.9, 'shuffle': 32.7}
FIGURES = ('VPQ', 'VPQ_Th', 'VPQ6_Th', 'STQ_corrected', 'AQ_corrected')


def parse_args() -> argparse.Namespace:
    """Parses the command line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--toy', type=Path, default=ROOT / 'work_dirs/toy', help='work folder of make demo (default: %(default)s)'
    )
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/noise_modes')
    parser.add_argument(
        '--iters',
        type=int,
        default=1600,
        help='training iterations; the learning rate decays over the second half (default: %(default)s)',
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--json', type=Path, help='JSON file to write the results to')
    return parser.parse_args()


def run(mode: str, seed: int, args: argparse.Namespace) -> dict[str, float]:
    """Trains and evaluates one tracker and returns its metrics."""
    folder = args.work_dir.resolve() / f'{mode}-{args.iters}-{seed}'
    metrics = folder / 'metrics.json'
    if not metrics.exists():
        infix = '' if mode == 'none' else f'-{mode}'
        config = str(ROOT / f'configs/toy/dvis-online{infix}_r18_1xb4-t10_toy.py')
        segmenter = args.toy.resolve() / 'minvis/iter_2800.pth'
        train = [
            'tools/train.py',
            config,
            '--work-dir',
            str(folder),
            '--cfg-options',
            f'randomness.seed={seed}',
            f'load_from={segmenter}',
            f'train_cfg.max_iters={args.iters}',
            f'param_scheduler.1.begin={args.iters // 2}',
            f'param_scheduler.1.end={args.iters}',
        ]
        test = [
            'tools/test.py',
            config,
            str(folder / f'iter_{args.iters}.pth'),
            '--work-dir',
            str(folder),
            '--metrics',
            str(metrics),
        ]
        for command in (train, test):
            subprocess.run(
                [sys.executable, *command],
                cwd=ROOT,
                check=True,
                env=dict(os.environ, TOY_DATA=str(args.toy.resolve() / 'data')),
            )
    return json.loads(metrics.read_text())


def table(results: dict[str, list[dict[str, float]]]) -> PrettyTable:
    """Table of mean and standard deviation of each mode in percent, with the AP of the report."""
    text_table = PrettyTable(['noise', 'runs', *FIGURES, 'AP on OVIS (paper)'])
    for mode, runs in results.items():
        text_table.add_row(
            [mode, len(runs), *(spread([100 * metrics[name] for metrics in runs]) for name in FIGURES), PAPER_AP[mode]]
        )
    return text_table


def spread(values: Sequence[float]) -> str:
    """Text ``mean +- sample standard deviation``; only the mean for a single value."""
    return f'{np.mean(values):.1f}' + (f' +- {np.std(values, ddof=1):.1f}' if len(values) > 1 else '')


def main() -> None:
    """Runs all modes for each seed and prints the table after each seed."""
    args = parse_args()
    results: dict[str, list[dict[str, float]]] = {mode: [] for mode in PAPER_AP}
    for seed in args.seeds:
        for mode, runs in results.items():
            runs.append(run(mode, seed, args))
        print(table(results), flush=True)
    if args.json:
        args.json.write_text(json.dumps(dict(iters=args.iters, seeds=args.seeds, results=results), indent=1))


if __name__ == '__main__':
    main()
