"""Runs the commands of a row of figures in README and docs, and says whether the new values are inside the noise.

The rows are in ``benchmarks/figures.yml``. A value is inside if it differs from the mean of the earlier runs by no more
than the tolerance, which is stated in the row, or is the 95 % prediction interval of those runs.
"""

import argparse
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from prettytable import PrettyTable

from mmdvis.analysis.reproduction import Figures, compare, read_figures
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.errors import OptionError

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = ROOT / 'benchmarks' / 'figures.yml'


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('rows', nargs='*', metavar='ROW', help='names of rows; without any, all rows are listed')
    parser.add_argument('--out', type=Path, help='folder for what the commands write; by default, a temporary one')
    return parser.parse_args()


def listing(rows: dict[str, Figures]) -> str:
    """Table of all rows."""
    table = PrettyTable(['row', 'figures', 'seconds', 'what'])
    table.align = 'l'
    for name, row in rows.items():
        table.add_row([name, ', '.join(row.values), f'{row.seconds:.0f}', row.title])
    return str(table)


def run(name: str, row: Figures, out: Path) -> bool:
    """Runs the commands of a row and prints a comparison; returns whether all values are inside the noise.

    Raises:
        OptionError: The folder is not empty, or a command failed.
    """
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise OptionError(f'{out} is not empty; name another --out')
    environment = {**os.environ, **{key: value.format(out=out) for key, value in row.environment.items()}}
    start = time.perf_counter()
    for step in row.steps:
        words = [word.format(out=out) for word in shlex.split(step)]
        words = [sys.executable, *words[1:]] if words[0] == 'python' else words
        matches = [sorted(map(str, ROOT.glob(word))) if '*' in word else [word] for word in words]
        print(f'$ {step}', flush=True)
        if subprocess.run([word for found in matches for word in found], cwd=ROOT, env=environment).returncode:
            raise OptionError(f'row {name}: the command failed: {step}')
    seconds = time.perf_counter() - start
    table, agreement = PrettyTable(['figure', 'new', 'expected', 'tolerance', '']), True
    table.align = 'r'
    for figure, new, expected, tolerance, agrees in compare(row, out / row.result):
        table.add_row([figure, f'{new:.4g}', f'{expected:.4g}', f'{tolerance:.3g}', 'inside' if agrees else 'outside'])
        agreement &= agrees
    if row.values:
        print(table)
    here = f'{platform.machine()}, {os.cpu_count()} cores'
    print(f'{name}: {seconds:.0f} s on {here}; {row.seconds:.0f} s on {row.hardware}')
    verdict = 'the commands succeeded' if not row.values else 'inside the noise' if agreement else 'outside the noise'
    print(f'{name}: {verdict}; earlier runs at commit {row.commit}')
    return agreement


def main() -> int:
    """Runs the rows; returns 1 if a value is outside the noise."""
    args = parse_args()
    with exit_on_error():
        rows = read_figures(ROWS)
        unknown = [name for name in args.rows if name not in rows]
        if unknown:
            raise OptionError(f'there is no row {unknown[0]}; rows: {", ".join(rows)}')
        if not args.rows:
            print(listing(rows))
            return 0
        with tempfile.TemporaryDirectory() as folder:
            results = [run(name, rows[name], (args.out or Path(folder)) / name) for name in args.rows]
    return 0 if all(results) else 1


if __name__ == '__main__':
    sys.exit(main())
