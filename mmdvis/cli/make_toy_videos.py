"""Writes the synthetic videos of the toy recipe in the layouts of VIPSeg, YouTube-VIS and VSPW."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmdvis.cli.arguments import program
from mmdvis.datasets.toy.layouts import LAYOUTS
from mmdvis.datasets.toy.scene import SCENES
from mmdvis.datasets.toy.videos import write_toy_videos


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('data convert toy'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('out', help='output folder')
    parser.add_argument('--seed', type=int, default=0, help='random seed of the videos')
    parser.add_argument('--num-train', type=int, default=400, help='number of training videos')
    parser.add_argument('--num-val', type=int, default=24, help='number of validation videos')
    parser.add_argument(
        '--layouts',
        nargs='*',
        choices=list(LAYOUTS),
        default=list(LAYOUTS),
        help='layouts to write in addition to that of VIPSeg; pass --layouts without a value for none',
    )
    parser.add_argument(
        '--scene',
        choices=list(SCENES),
        default='crossing',
        help='crossing: similar objects that cross each other; blots: slower, with grey rectangles that hide parts',
    )
    parser.add_argument('--workers', type=int, default=2, help='number of processes')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes both splits and prints their paths."""
    args = parse_args(arguments)
    files = write_toy_videos(args.out, args.seed, args.num_train, args.num_val, SCENES[args.scene], args.workers)
    for split, path in files.items():
        print(f'{split}: {path}')
        for layout in args.layouts:
            print(f'{split}: {LAYOUTS[layout](Path(args.out), split)}')


if __name__ == '__main__':
    main()
