"""Prepares VIPSeg's raw release: frames and masks of 720 rows, panoptic PNGs, a json per split; can be run again."""

import argparse
import json
from pathlib import Path

from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.converters.vipseg import prepare_vipseg


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('raw', type=Path, help='folder with imgs/, panomasks/ and {train,val,test}.txt')
    parser.add_argument('out', type=Path, help='folder to write to, e.g. data/VIPSeg/VIPSeg_720P')
    parser.add_argument('--height', type=int, default=720, help='rows of the frames')
    parser.add_argument('--errata', type=Path, help='json of corrections: {video, or "" for all: {value: right value}}')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    return parser.parse_args()


def main() -> None:
    """Prepares, and prints what was written."""
    args = parse_args()
    with exit_on_error():
        errata = (
            {}
            if args.errata is None
            else {
                video: {int(wrong): right for wrong, right in values.items()}
                for video, values in json.loads(args.errata.read_text()).items()
            }
        )
        written = prepare_vipseg(args.raw, args.out, args.height, args.workers, errata)
    for sentence in written.pop('errata'):
        print(f'erratum: {sentence}')
    for split, path in written.items():
        print(f'{split}: {path}')


if __name__ == '__main__':
    main()
