"""Writes the synthetic videos of the toy recipe in VIPSeg's layout, and also as YouTube-VIS and VSPW lie on disk."""

import argparse
from pathlib import Path

from mmdvis.datasets.toy.layouts import LAYOUTS
from mmdvis.datasets.toy.videos import write_toy_videos


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', help='folder to write to')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--num-train', type=int, default=400, help='training videos')
    parser.add_argument('--num-val', type=int, default=24, help='validation videos')
    parser.add_argument(
        '--layouts',
        nargs='*',
        choices=list(LAYOUTS),
        default=list(LAYOUTS),
        help='layouts to write besides that of VIPSeg; none: --layouts',
    )
    parser.add_argument('--workers', type=int, default=2, help='processes')
    return parser.parse_args()


def main() -> None:
    """Writes both splits and prints where."""
    args = parse_args()
    files = write_toy_videos(args.out, args.seed, args.num_train, args.num_val, num_workers=args.workers)
    for split, path in files.items():
        print(f'{split}: {path}')
        for layout in args.layouts:
            print(f'{split}: {LAYOUTS[layout](Path(args.out), split)}')


if __name__ == '__main__':
    main()
