"""Exports a model to ONNX, OpenVINO or torch.export; `mmdvis run --model FOLDER` runs the result."""

import argparse
from collections.abc import Sequence

from mmdvis.apis import load
from mmdvis.cli.arguments import add_trust
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.inference import SUFFIXES, export_model


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog='mmdvis export', description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('model', help='name (see `mmdvis models`), checkpoint or config')
    parser.add_argument('--weights', help='checkpoint; required for configs and for names without published weights')
    parser.add_argument('--format', choices=SUFFIXES, default='onnx', help='format of the graphs')
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        required=True,
        metavar=('H', 'W'),
        help='height and width of the processed frames; others are resized to the largest size that fits, and padded',
    )
    parser.add_argument('--out', required=True, help='output folder')
    add_trust(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exports the model and prints the folder."""
    args = parse_args(arguments)
    with exit_on_error(ValueError):
        if min(args.size) < 1:
            raise ValueError(f'--size must be two positive numbers of pixels, got {args.size[0]} {args.size[1]}')
        inferencer = load(args.model, args.weights, 'cpu', trust=args.trust)
        print(export_model(inferencer.model, args.out, tuple(args.size), args.format))
    return 0
