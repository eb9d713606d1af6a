"""Measures the time of a whole frame against another commit, in turns, each in its own process.

Model: DVIS offline, ResNet-50, with 50 segments in each frame; each commit runs its own benchmark tool.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from prettytable import PrettyTable
from tqdm import tqdm

from mmdvis.analysis.commit_files import commit_files

ROOT = Path(__file__).parents[1]
CONFIG = 'configs/dvis/dvis-offline_r50_8xb1-t21-20k_vipseg-720p.py'


def parse_args() -> argparse.Namespace:
    """Parses the command line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('baseline', help='commit to compare with')
    parser.add_argument('--sizes', type=int, nargs='+', default=[360, 720], help='short edges (default: 360 720)')
    parser.add_argument('--precisions', nargs='+', default=['fp32', 'bf16'], help='default: fp32 bf16')
    parser.add_argument('--threads', type=int, default=2, help='CPU threads of torch (default: %(default)s)')
    parser.add_argument('--frames', type=int, default=6, help='number of frames (default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=2, help='measurements of each commit (default: %(default)s)')
    parser.add_argument('--video', type=Path, help='video file to segment (default: random noise)')
    parser.add_argument('--json', type=Path, help='JSON file to write the results to')
    return parser.parse_args()


def seconds(checkout: Path, size: int, precision: str, args: argparse.Namespace) -> float:
    """Seconds per frame with the code of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / 'report.json'
        options = dict(threads=args.threads, frames=args.frames, kept=50, size=size, precision=precision, json=report)
        if args.video:
            options['video'] = args.video.resolve()
        words = [str(word) for name, value in options.items() for word in (f'--{name}', value)]
        command = [sys.executable, 'tools/analysis_tools/benchmark.py', CONFIG, *words]
        environment = dict(os.environ, PYTHONPATH=str(checkout.resolve()))
        subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
        return json.loads(report.read_text())['ours']['seconds']['all']


def main() -> None:
    """Runs the benchmark."""
    args = parse_args()
    table, results = PrettyTable(['short edge', 'precision', f'{args.baseline}, ms', 'mmdvis, ms', 'ratio']), []
    settings = [(size, precision) for size in args.sizes for precision in args.precisions]
    with tempfile.TemporaryDirectory() as folder:
        checkouts = [commit_files(ROOT, args.baseline, folder), ROOT]
        for size, precision in tqdm(settings, unit='setting'):
            runs = [[seconds(checkout, size, precision, args) for checkout in checkouts] for _ in range(args.repeats)]
            before, now = (statistics.median(run[k] for run in runs) for k in range(2))
            ratio = statistics.median(run[1] / run[0] for run in runs)
            results.append(dict(size=size, precision=precision, baseline=before, seconds=now, ratio=ratio))
            table.add_row([size, precision, f'{1e3 * before:.0f}', f'{1e3 * now:.0f}', f'{ratio:.2f}'])
    print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
