"""Denoising training on the toy videos: the tracker with no noise and with each mode, several seeds, mean and spread.

Takes the segmenter and the videos that ``make demo`` made. Each run is the tracker's recipe of ``configs/toy``, with
``--iters`` steps; what has been scored already is not trained again. Beside it stands what the LSVOS 2023 report
(arXiv:2308.14392, its ablation on OVIS, R50, 40,000 steps) gives for the modes.
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
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--toy', type=Path, default=ROOT / 'work_dirs/toy', help='the work folder of make demo')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/noise_modes')
    parser.add_argument(
        '--iters', type=int, default=1600, help='steps of each run; the rate falls over the second half'
    )
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--json', type=Path, help='write the figures to this file')
    return parser.parse_args()


def run(mode: str, seed: int, args: argparse.Namespace) -> dict[str, float]:
    """Trains and scores one tracker; its metrics."""
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
    """Mean and sample deviation of each mode in percent, the report's AP in a column of its own."""
    rows = PrettyTable(['noise', 'runs', *FIGURES, 'AP on OVIS (paper)'])
    for mode, runs in results.items():
        rows.add_row(
            [mode, len(runs), *(spread([100 * metrics[name] for metrics in runs]) for name in FIGURES), PAPER_AP[mode]]
        )
    return rows


def spread(values: Sequence[float]) -> str:
    """``mean +- sample deviation``; the deviation of a single value is not known."""
    return f'{np.mean(values):.1f}' + (f' +- {np.std(values, ddof=1):.1f}' if len(values) > 1 else '')


def main() -> None:
    """All modes of a seed, then the next seed; the table after each."""
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
