"""Trains several stages in sequence; each stage starts from the last checkpoint of the previous one."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from mmdvis.engine.work_folder import latest_checkpoint


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('configs', nargs='+', help='config files in the order of the stages')
    parser.add_argument(
        '--work-dir',
        default='work_dirs',
        help='folder for logs and checkpoints; each stage has a subfolder with the name of its config',
    )
    parser.add_argument(
        '--gpus',
        type=int,
        default=0,
        help='number of GPUs for distributed training; 0: one process without distributed training',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='fp16',
        choices=['fp16', 'bf16'],
        help='mixed precision, see train.py; must follow the configs',
    )
    parser.add_argument('--accumulate', type=int, default=1, metavar='BATCHES', help='batches per update, see train.py')
    parser.add_argument('--resume', action='store_true', help='resume an interrupted run')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], help='overrides of the configs of all stages, as key=value'
    )
    return parser.parse_args()


def command(config: str, work_dir: Path, before: str | None, args: argparse.Namespace) -> list[str]:
    """Command that trains one stage.

    Args:
        config: Path of the config file.
        work_dir: Work folder of the stage.
        before: Checkpoint of the previous stage; None for the first stage.
        args: Arguments of this script.
    """
    tools = Path(__file__).parent
    options = [*args.cfg_options, *([f'load_from={before}'] if before else [])]
    start = (
        ['bash', str(tools / 'dist_train.sh'), config, str(args.gpus)]
        if args.gpus
        else [sys.executable, str(tools / 'train.py'), config]
    )
    return [
        *start,
        '--work-dir',
        str(work_dir),
        *(['--resume'] if args.resume else []),
        *(['--amp', args.amp] if args.amp else []),
        *(['--accumulate', str(args.accumulate)] if args.accumulate != 1 else []),
        *(['--cfg-options', *options] if options else []),
    ]


def main() -> None:
    """Trains the stages; stops at the first stage that fails or writes no checkpoint."""
    args = parse_args()
    missing = [config for config in args.configs if not Path(config).is_file()]
    if missing:
        raise SystemExit(f'there is no config file {missing[0]}')
    checkpoint = None
    for config in args.configs:
        work_dir = Path(args.work_dir) / Path(config).stem
        environment = dict(os.environ, PYTHON=sys.executable)
        if subprocess.run(command(config, work_dir, checkpoint, args), env=environment).returncode:
            raise SystemExit(f'training of {config} failed; see its log in {work_dir}')
        found = latest_checkpoint(work_dir)
        if found is None:
            raise SystemExit(f'training of {config} wrote no checkpoint to {work_dir}, so the next stage cannot start')
        checkpoint = found[0]
    print(f'last checkpoint: {checkpoint}')


if __name__ == '__main__':
    main()
