"""Command line of the checkpoint converters."""

import argparse
from collections.abc import Callable

from torch import Tensor

from mmdvis.checkpoints import read_checkpoint, state_dict_of
from mmdvis.checkpoints.converters import Conversion
from mmdvis.cli.arguments import add_trust
from mmdvis.cli.exit_on_error import exit_on_error


def converter_arguments(description: str) -> argparse.Namespace:
    """Parses the command line of a converter.

    Args:
        description: Description of the converter for ``--help``.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('src', help='checkpoint of the other project (.pkl, .pth, .safetensors or .npz)')
    parser.add_argument('dst', help='.pth file to write')
    parser.add_argument(
        '--allow-leftover',
        nargs='*',
        default=[],
        metavar='PREFIX',
        help='prefixes of names of tensors that the converter may drop',
    )
    add_trust(parser)
    return parser.parse_args()


def convert_file(converter: Callable[[dict[str, Tensor]], Conversion], args: argparse.Namespace) -> None:
    """Converts a checkpoint and prints a report with one line per tensor.

    Args:
        converter: Function that converts a state dict.
        args: Result of :func:`converter_arguments`.

    Raises:
        SystemExit: If the file cannot be converted.
    """
    with exit_on_error(ValueError):
        result = converter(state_dict_of(read_checkpoint(args.src, trust=args.trust)))
        print('\n'.join(result.report()))
        result.save(args.dst, args.src, args.allow_leftover)
    print(f'wrote {args.dst}')
