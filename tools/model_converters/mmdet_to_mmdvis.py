"""Converts a Mask2Former checkpoint of mmdet to a segmenter of mmdvis."""

import argparse

from mmdvis.checkpoints.converters import convert_mmdet
from mmdvis.cli.convert_weights import convert_file, converter_arguments


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    return converter_arguments(__doc__)


def main() -> None:
    """Converts the checkpoint, prints a report with one line per tensor, and writes the result."""
    convert_file(convert_mmdet, parse_args())


if __name__ == '__main__':
    main()
