"""Brings VIPER into VIPSeg's layout. Untested on the real files, which nobody here has seen; can be run again."""

import argparse
from pathlib import Path

from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.converters.viper import CODINGS, prepare_viper


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('raw', type=Path, help='folder with <split>/{img,cls,inst}/<video>/<video>_<frame>.*')
    parser.add_argument('out', type=Path, help='folder to write to, e.g. data/viper_vps')
    parser.add_argument(
        '--inst-coding',
        choices=list(CODINGS),
        required=True,
        help='of the instance images: every colour an instance; or one channel the class, the others the number',
    )
    parser.add_argument('--splits', nargs='+', default=['train', 'val_day'])
    parser.add_argument('--workers', type=int, default=2, help='processes')
    return parser.parse_args()


def main() -> None:
    """Prepares, and prints what was written."""
    args = parse_args()
    with exit_on_error():
        for split in args.splits:
            print(f'{split}: {prepare_viper(args.raw, args.out, split, args.inst_coding, args.workers)}')


if __name__ == '__main__':
    main()
