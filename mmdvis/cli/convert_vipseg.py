"""Converts the raw release of VIPSeg: resizes frames and masks, and writes panoptic PNGs and a json per split.

Can be run repeatedly.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from mmdvis.cli.arguments import program
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.converters.vipseg import prepare_vipseg


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('data convert vipseg'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('raw', type=Path, help='folder with imgs/, panomasks/ and {train,val,test}.txt')
    parser.add_argument('out', type=Path, help='output folder, e.g. data/VIPSeg/VIPSeg_720P')
    parser.add_argument('--height', type=int, default=720, help='height of the resized frames in pixels')
    parser.add_argument(
        '--errata',
        type=Path,
        help='json with corrections of mask values: {video, or "" for all videos: {value: correct value}}',
    )
    parser.add_argument('--workers', type=int, default=2, help='number of processes')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Converts the dataset and prints what was written."""
    args = parse_args(arguments)
    with exit_on_error():
        errata = (
            {}
            if args.errata is None
            else {
                video: {int(value): correct for value, correct in values.items()}
                for video, values in json.loads(args.errata.read_text()).items()
            }
        )
        written = prepare_vipseg(args.raw, args.out, args.height, args.workers, errata)
    for message in written.pop('errata'):
        print(f'erratum: {message}')
    for split, path in written.items():
        print(f'{split}: {path}')


if __name__ == '__main__':
    main()
