"""Counts the parameters, multiply-adds and activations of a model, per component and frame."""

import argparse
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmdvis.models  # noqa: F401 (registers the modules of configs)
from mmdvis.analysis.flops import cost_summary, cost_table, model_cost
from mmdvis.cli.arguments import add_config_options
from mmdvis.io import write_json
from mmdvis.registry import MODELS


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape', type=int, nargs=2, default=[720, 1280], metavar=('HEIGHT', 'WIDTH'), help='size of the frames'
    )
    parser.add_argument('--frames', type=int, default=5, help='length of the clip that tracker and refiner process')
    add_config_options(parser)
    parser.add_argument('--json', type=Path, help='json file to write the results to')
    return parser.parse_args()


def main() -> None:
    """Counts the operations and prints a table."""
    args = parse_args()
    init_default_scope('mmdvis')
    config = Config.fromfile(args.config)
    config.merge_from_dict(args.cfg_options or {})
    costs = model_cost(MODELS.build(config.model), tuple(args.shape), args.frames)
    print(f'{args.config}, {args.shape[0]} x {args.shape[1]}, {args.frames} frames')
    print(cost_table(costs))
    if args.json:
        report = dict(config=args.config, shape=args.shape, frames=args.frames, **cost_summary(costs))
        write_json(args.json, report, indent=1)


if __name__ == '__main__':
    main()
