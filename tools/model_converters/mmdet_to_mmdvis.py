"""Converts a checkpoint of mmdet's Mask2Former to a segmenter of mmdvis."""
import argparse

from mmdvis.apis.weight_conversion import convert_file, convert_mmdet, converter_arguments


def parse_args() -> argparse.Namespace:
    """The command line."""
    return converter_arguments(__doc__)


def main() -> None:
    """Converts, prints what became of every tensor, and writes the result."""
    convert_file(convert_mmdet, parse_args())


if __name__ == '__main__':
    main()
