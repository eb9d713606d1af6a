"""Trains a model with a config."""

import argparse
from collections.abc import Sequence

from mmengine.device import get_device

from mmdvis.cli.arguments import add_config_options, add_launcher, add_trust, program, set_local_rank
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.engine.freed_memory import keep_freed_memory
from mmdvis.engine.launch import load_config, set_accumulation, set_precision, set_resume, train


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line, which has the options of train.py of mmdet."""
    parser = argparse.ArgumentParser(
        prog=program('train'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='folder for logs and checkpoints; None: as in the config, or work_dirs/<name of the config>'
    )
    parser.add_argument('--load-from', metavar='FILE', help='checkpoint to start from; None: as in the config')
    parser.add_argument(
        '--amp',
        nargs='?',
        const='fp16',
        choices=['fp16', 'bf16'],
        help='mixed precision; pass it after the config; fp16 if no value is passed, which requires an accelerator',
    )
    parser.add_argument(
        '--accumulate',
        type=int,
        default=1,
        metavar='BATCHES',
        help='batches per update; iterations and schedules are scaled, so that 8 on one GPU corresponds to 8 GPUs',
    )
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the total batch size'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='checkpoint to resume from; the latest one in the work folder if no value is passed',
    )
    parser.add_argument(
        '--resume-anyway',
        action='store_true',
        help='resume although the number of processes differs or the state of the optimizer is missing',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='delete the checkpoints of an earlier run in the work folder'
    )
    parser.add_argument(
        '--on-nonfinite',
        choices=['stop', 'skip'],
        help='for a loss or gradient that is not finite: stop, or leave out the batch; None: as in the config, or stop',
    )
    add_config_options(parser)
    add_trust(parser)
    add_launcher(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains the model and prints the path of the last checkpoint."""
    args = parse_args(arguments)
    set_local_rank(args)
    config = load_config(args.config, args.work_dir, args.cfg_options, args.launcher)
    if args.load_from is not None:
        config.load_from = args.load_from
    with exit_on_error(ValueError):
        if args.amp:
            set_precision(config, args.amp)
        if args.accumulate != 1:
            set_accumulation(config, args.accumulate)
    if args.auto_scale_lr:
        if 'base_batch_size' not in config.get('auto_scale_lr', {}):
            raise SystemExit(
                f'{args.config} has no auto_scale_lr.base_batch_size, required by --auto-scale-lr; set it in the config'
            )
        config.auto_scale_lr.enable = True
    if args.on_nonfinite:
        config.train_cfg.on_nonfinite = args.on_nonfinite
    with exit_on_error():
        if get_device() == 'cpu':
            keep_freed_memory()
        set_resume(config, args.resume or ('auto' if args.resume_anyway else None), args.resume_anyway, args.trust)
        print(f'last checkpoint: {train(config, args.trust, args.overwrite)}')


if __name__ == '__main__':
    main()
