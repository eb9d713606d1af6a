"""The command line that all weight converters share."""

import argparse
from collections.abc import Callable

from torch import Tensor

from mmdvis.checkpoints import read_checkpoint, state_dict_of
from mmdvis.checkpoints.converters import Conversion


def converter_arguments(description: str) -> argparse.Namespace:
    """The command line that all converters share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('src', help='.pkl, .pth, .safetensors or .npz with the names of the other project')
    parser.add_argument('dst', help='.pth to write')
    parser.add_argument(
        '--allow-leftover', nargs='*', default=[], metavar='PREFIX', help='beginnings of names that may be left behind'
    )
    parser.add_argument('--trust', action='store_true', help='read the file without guarding against code in it')
    return parser.parse_args()


def convert_file(converter: Callable[[dict[str, Tensor]], Conversion], args: argparse.Namespace) -> None:
    """Converts a file, and prints what became of every tensor; a file that cannot be converted ends the program.

    Args:
        converter: of this module.
        args: of :func:`converter_arguments`.
    """
    try:
        result = converter(state_dict_of(read_checkpoint(args.src, trust=args.trust)))
        print('\n'.join(result.report()))
        result.save(args.dst, args.src, args.allow_leftover)
    except (ValueError, OSError) as error:
        raise SystemExit(f'error: {error}') from None
    print(f'wrote {args.dst}')
