"""Converts a detectron2 checkpoint of Mask2Former, MinVIS, DVIS or DVIS++ to mmdvis."""

import argparse

from mmdvis.checkpoints.converters import convert_detectron2
from mmdvis.cli.convert_weights import convert_file, converter_arguments


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    return converter_arguments(__doc__)


def main() -> None:
    """Converts the checkpoint, prints a report with one line per tensor, and writes the result."""
    convert_file(convert_detectron2, parse_args())


if __name__ == '__main__':
    main()
