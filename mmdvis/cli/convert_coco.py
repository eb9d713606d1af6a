"""Converts an instance json of COCO to the classes of a video dataset, for joint training."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmdvis.cli.arguments import program
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.coco import CLASS_MAPS
from mmdvis.datasets.converters.json_files import coco_to_clips


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('data convert coco'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('source', type=Path, help='instances_train2017.json')
    parser.add_argument('out', type=Path, help='json file to write')
    parser.add_argument('--target', choices=list(CLASS_MAPS), required=True, help='dataset whose classes are used')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Converts the json and prints the numbers of its entries."""
    args = parse_args(arguments)
    with exit_on_error():
        print(
            ', '.join(f'{name}: {number}' for name, number in coco_to_clips(args.source, args.out, args.target).items())
        )


if __name__ == '__main__':
    main()
