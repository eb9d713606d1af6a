"""Converts an instance json of COCO to the classes of a video dataset, for joint training."""

import argparse
from pathlib import Path

from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.coco import CLASS_MAPS
from mmdvis.datasets.converters.json_files import coco_to_clips


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('source', type=Path, help='instances_train2017.json')
    parser.add_argument('out', type=Path, help='json file to write')
    parser.add_argument('--target', choices=list(CLASS_MAPS), required=True, help='dataset whose classes are used')
    return parser.parse_args()


def main() -> None:
    """Converts the json and prints the numbers of its entries."""
    args = parse_args()
    with exit_on_error():
        print(
            ', '.join(f'{name}: {number}' for name, number in coco_to_clips(args.source, args.out, args.target).items())
        )


if __name__ == '__main__':
    main()
