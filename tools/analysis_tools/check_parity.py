"""Runs official weights through the converters and our models, and compares with what the official code gave."""

import argparse
import sys
from pathlib import Path

from mmengine.registry import init_default_scope

from mmdvis.testing.parity.comparison import report
from mmdvis.testing.parity.fixtures import compare_fixtures


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folders', nargs='+', metavar='DIR', help='folder of fixtures; its files say of which kind')
    return parser.parse_args()


def main() -> int:
    """Prints a line for every quantity; the exit code is 1 where one is outside its tolerance."""
    init_default_scope('mmdvis')
    all_hold = True
    for folder in map(Path, parse_args().folders):
        try:
            text, holds = report(compare_fixtures(folder))
        except Exception as error:  # a folder that cannot be read must not hide the others
            text, holds = f'FAIL {folder} cannot be compared: {type(error).__name__}: {error}', False
        print(f'{folder}\n{text}', flush=True)
        all_hold &= holds
    return 0 if all_hold else 1


if __name__ == '__main__':
    sys.exit(main())
