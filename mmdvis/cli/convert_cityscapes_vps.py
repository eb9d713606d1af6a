"""Creates the panoptic PNGs and jsons of Cityscapes-VPS from its class and instance images; can be run repeatedly."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmdvis.cli.arguments import program
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.converters.cityscapes_vps import prepare_split


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('data convert cityscapes-vps'),
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        'root', type=Path, help='folder with <split>/{img,cls,inst}; the output is written to the same folder'
    )
    parser.add_argument('--splits', nargs='+', default=['train', 'val', 'test'], help='splits to convert')
    parser.add_argument(
        '--sequence', type=Path, help='folder leftImg8bit_sequence/val of Cityscapes, for frames without annotations'
    )
    parser.add_argument('--workers', type=int, default=2, help='number of processes')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Converts the dataset and prints what was written."""
    args = parse_args(arguments)
    with exit_on_error():
        for split in args.splits:
            written = prepare_split(args.root, split, args.sequence, args.workers)
            print(*(f'{split}: {path}' for path in written.values()), sep='\n')
            if not written:
                print(f'{split}: skipped, because {args.root / split / "img"} does not exist')


if __name__ == '__main__':
    main()
