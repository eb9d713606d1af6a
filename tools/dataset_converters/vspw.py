"""Makes a smaller copy of VSPW (VSPW_480p from the full-size release); can be run again."""

import argparse
from pathlib import Path

from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.converters.vspw import prepare_vspw


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('raw', type=Path, help='folder with data/ and {train,val,test}.txt')
    parser.add_argument('out', type=Path, help='folder to write to, e.g. data/VSPW_480p')
    parser.add_argument('--height', type=int, default=480, help='rows of the frames')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    return parser.parse_args()


def main() -> None:
    """Prepares, and prints what was written."""
    args = parse_args()
    with exit_on_error():
        for split, frames in prepare_vspw(args.raw, args.out, args.height, args.workers).items():
            print(f'{split}: {frames} frames')


if __name__ == '__main__':
    main()
