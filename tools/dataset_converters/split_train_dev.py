"""Divides a training json of YouTube-VIS or OVIS, whose validation labels are private, so that a part can be scored."""

import argparse
from pathlib import Path

from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.converters.json_files import split_train_dev


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', type=Path, help='training json; *_sub.json and *_dev.json are written beside it')
    parser.add_argument('--share', type=float, default=0.1, help='of the videos that are validated on')
    return parser.parse_args()


def main() -> None:
    """Prepares, and prints what was written."""
    args = parse_args()
    with exit_on_error():
        for part, (path, videos, digest) in split_train_dev(args.source, args.share).items():
            print(f'{part}: {path}, {videos} videos, hash of their names {digest}')


if __name__ == '__main__':
    main()
