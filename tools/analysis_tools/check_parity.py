"""Converts official weights and compares the outputs of the models with stored outputs of the official code."""

import argparse
import sys
from pathlib import Path

from mmengine.registry import init_default_scope

from mmdvis.testing.parity.comparison import report
from mmdvis.testing.parity.fixtures import compare_fixtures


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        'folders', nargs='+', metavar='DIR', help='folder of fixtures; their kind is recognised by its files'
    )
    return parser.parse_args()


def main() -> int:
    """Prints one line per compared quantity; returns exit code 1 if a quantity is outside its tolerance."""
    init_default_scope('mmdvis')
    all_passed = True
    for folder in map(Path, parse_args().folders):
        try:
            text, passed = report(compare_fixtures(folder))
        except Exception as error:  # an unreadable folder must not prevent the comparison of the others
            text, passed = f'FAIL {folder} cannot be compared: {type(error).__name__}: {error}', False
        print(f'{folder}\n{text}', flush=True)
        all_passed &= passed
    return 0 if all_passed else 1


if __name__ == '__main__':
    sys.exit(main())
