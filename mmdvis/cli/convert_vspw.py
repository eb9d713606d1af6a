"""Creates a resized copy of VSPW (VSPW_480p from the full-size release); can be run repeatedly."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmdvis.cli.arguments import program
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.converters.vspw import prepare_vspw


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('data convert vspw'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('raw', type=Path, help='folder with data/ and {train,val,test}.txt')
    parser.add_argument('out', type=Path, help='output folder, e.g. data/VSPW_480p')
    parser.add_argument('--height', type=int, default=480, help='height of the resized frames in pixels')
    parser.add_argument('--workers', type=int, default=2, help='number of processes')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Converts the dataset and prints what was written."""
    args = parse_args(arguments)
    with exit_on_error():
        for split, frames in prepare_vspw(args.raw, args.out, args.height, args.workers).items():
            print(f'{split}: {frames} frames')


if __name__ == '__main__':
    main()
