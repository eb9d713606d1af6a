"""Converts a detectron2 checkpoint of Mask2Former, MinVIS, DVIS or DVIS++ to mmdvis."""
import argparse

from mmdvis.apis.weight_conversion import convert_detectron2, convert_file


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='.pkl, .pth, .safetensors or .npz with the official names')
    parser.add_argument('dst', help='.pth to write')
    parser.add_argument('--allow-leftover', nargs='*', default=[], metavar='PREFIX',
                        help='beginnings of names that may be left behind')
    parser.add_argument('--trust', action='store_true', help='read the file without guarding against code in it')
    return parser.parse_args()


def main() -> None:
    """Converts, prints what became of every tensor, and writes the result."""
    args = parse_args()
    try:
        convert_file(convert_detectron2, args.src, args.dst, args.allow_leftover, args.trust)
    except (ValueError, OSError) as error:
        raise SystemExit(f'error: {error}')


if __name__ == '__main__':
    main()
