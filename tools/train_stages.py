"""Trains stages one after the other; each starts from the last checkpoint of the one before."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from mmengine.runner import find_latest_checkpoint


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', help='config files in the order of the stages')
    parser.add_argument('--work-dir', default='work_dirs', help='each stage gets the folder of its config name in here')
    parser.add_argument('--gpus', type=int, default=0, help='processes for dist_train.sh; 0: one process without it')
    parser.add_argument(
        '--amp',
        nargs='?',
        const='fp16',
        choices=['fp16', 'bf16'],
        help='mixed precision, as in train.py; behind the configs',
    )
    parser.add_argument(
        '--accumulate', type=int, default=1, metavar='BATCHES', help='batches for an update, as in train.py'
    )
    parser.add_argument('--resume', action='store_true', help='go on where an interrupted run stopped')
    parser.add_argument('--cfg-options', nargs='+', default=[], help='overrides for all stages, as key=value')
    return parser.parse_args()


def command(config: str, work_dir: Path, before: str | None, args: argparse.Namespace) -> list[str]:
    """The command line of one stage; ``before`` is the checkpoint of the stage before it."""
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
    """Runs the stages; stops at the first that fails or leaves no checkpoint."""
    args = parse_args()
    missing = [config for config in args.configs if not Path(config).is_file()]
    if missing:
        raise SystemExit(f'there is no config {missing[0]}')
    checkpoint = None
    for config in args.configs:
        work_dir = Path(args.work_dir) / Path(config).stem
        environment = dict(os.environ, PYTHON=sys.executable)
        if subprocess.run(command(config, work_dir, checkpoint, args), env=environment).returncode:
            raise SystemExit(f'the stage {config} failed; its log is in {work_dir}')
        checkpoint = find_latest_checkpoint(str(work_dir))
        if checkpoint is None or not Path(checkpoint).is_file():
            raise SystemExit(f'the stage {config} left no checkpoint in {work_dir}, the next one cannot start')
    print(f'last checkpoint: {checkpoint}')


if __name__ == '__main__':
    main()
