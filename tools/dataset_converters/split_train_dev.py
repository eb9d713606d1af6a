"""Splits a training json of YouTube-VIS or OVIS into a part for training and a part for evaluation.

The labels of the official validation sets are private.
"""

import argparse
from pathlib import Path

from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.converters.json_files import split_train_dev


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        'source', type=Path, help='training json; *_sub.json and *_dev.json are written to the same folder'
    )
    parser.add_argument('--share', type=float, default=0.1, help='fraction of the videos that are used for evaluation')
    return parser.parse_args()


def main() -> None:
    """Splits the json and prints what was written."""
    args = parse_args()
    with exit_on_error():
        for part, (path, videos, digest) in split_train_dev(args.source, args.share).items():
            print(f'{part}: {path}, {videos} videos, hash of their names {digest}')


if __name__ == '__main__':
    main()
