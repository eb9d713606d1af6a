"""Trains the stage that a config describes."""

import argparse
import os

from mmengine.config import DictAction

import mmdvis.registry  # noqa: F401 (configs may inherit from mmdvis::...)
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.engine.launch import load_config, set_accumulation, set_precision, set_resume, train
from mmdvis.errors import BadInputError


def parse_args() -> argparse.Namespace:
    """The command line, with the flags of mmdet's train.py."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--work-dir', help='folder for logs and checkpoints')
    parser.add_argument(
        '--amp',
        nargs='?',
        const='fp16',
        choices=['fp16', 'bf16'],
        help='mixed precision, behind the config; fp16, which is meant without a name, needs an accelerator',
    )
    parser.add_argument(
        '--accumulate',
        type=int,
        default=1,
        metavar='BATCHES',
        help='batches for an update; lengths and schedules grow with it, so that 8 on one GPU stand for 8 GPUs',
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='checkpoint to resume from; without a name the latest of the work folder, if there is one',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides, as key=value')
    parser.add_argument('--trust', action='store_true', help='load checkpoints without guarding against code in them')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Trains, and prints the last checkpoint."""
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = load_config(args.config, args.work_dir, args.cfg_options, args.launcher)
    with exit_on_error(ValueError):
        if args.amp:
            set_precision(config, args.amp)
        if args.accumulate != 1:
            set_accumulation(config, args.accumulate)
    if args.auto_scale_lr:
        if 'base_batch_size' not in config.get('auto_scale_lr', {}):
            raise SystemExit(f'{args.config} says no auto_scale_lr.base_batch_size, so the rate cannot be scaled')
        config.auto_scale_lr.enable = True
    set_resume(config, args.resume)
    with exit_on_error(BadInputError):
        print(f'last checkpoint: {train(config, args.trust)}')


if __name__ == '__main__':
    main()
