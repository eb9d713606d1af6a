"""Makes panoptic maps and jsons of Cityscapes-VPS out of its class and instance images; can be run again."""

import argparse
from pathlib import Path

from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.converters.cityscapes_vps import prepare_split


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', type=Path, help='folder with <split>/{img,cls,inst}; everything is written below it')
    parser.add_argument('--splits', nargs='+', default=['train', 'val', 'test'])
    parser.add_argument(
        '--sequence', type=Path, help='leftImg8bit_sequence/val of Cityscapes, for frames without annotation'
    )
    parser.add_argument('--workers', type=int, default=2, help='processes')
    return parser.parse_args()


def main() -> None:
    """Prepares, and prints what was written."""
    args = parse_args()
    with exit_on_error():
        for split in args.splits:
            written = prepare_split(args.root, split, args.sequence, args.workers)
            print(*(f'{split}: {path}' for path in written.values()), sep='\n')
            if not written:
                print(f'{split}: there is no {args.root / split / "img"}, nothing was done')


if __name__ == '__main__':
    main()
