"""Converts VIPER to the layout of VIPSeg; can be run repeatedly.

Not validated on the official release.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmdvis.cli.arguments import program
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.converters.viper import CODINGS, prepare_viper


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('data convert viper'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('raw', type=Path, help='folder with <split>/{img,cls,inst}/<video>/<video>_<frame>.*')
    parser.add_argument('out', type=Path, help='output folder, e.g. data/viper_vps')
    parser.add_argument(
        '--inst-coding',
        choices=list(CODINGS),
        required=True,
        help='encoding of the instance images: one colour per instance, or one channel with the class and two with '
        'the instance number',
    )
    parser.add_argument('--splits', nargs='+', default=['train', 'val_day'], help='splits to convert')
    parser.add_argument('--first', type=int, help='convert only the first frames of each video; papers use 60')
    parser.add_argument('--videos', nargs='+', help='convert only these videos; each must be in every split')
    parser.add_argument('--workers', type=int, default=2, help='number of processes')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Converts the dataset and prints what was written."""
    args = parse_args(arguments)
    with exit_on_error():
        for split in args.splits:
            path = prepare_viper(args.raw, args.out, split, args.inst_coding, args.workers, args.first, args.videos)
            print(f'{split}: {path}')


if __name__ == '__main__':
    main()
