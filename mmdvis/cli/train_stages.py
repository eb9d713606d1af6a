"""Trains several stages in sequence; each stage starts from the checkpoint of the previous one.

If a config saves the best checkpoint of the validation (``save_best``), that one is taken, else the last one.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mmdvis.cli.arguments import program
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.engine.work_folder import best_checkpoint, latest_checkpoint


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('train-stages'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
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
        help='mixed precision, see `mmdvis train`; must follow the configs',
    )
    parser.add_argument(
        '--accumulate', type=int, default=1, metavar='BATCHES', help='batches per update, see `mmdvis train`'
    )
    parser.add_argument('--resume', action='store_true', help='resume an interrupted run')
    parser.add_argument(
        '--cfg-options', nargs='+', default=[], help='overrides of the configs of all stages, as key=value'
    )
    return parser.parse_args(arguments)


def launcher(processes: int) -> list[str]:
    """Options of torchrun for several processes.

    On several machines, NNODES, NODE_RANK, MASTER_ADDR and PORT are read from the environment.
    """
    names = dict(nnodes=('NNODES', '1'), node_rank=('NODE_RANK', '0'), master_addr=('MASTER_ADDR', '127.0.0.1'))
    values = dict(names, master_port=('PORT', '29500'))
    options = [f'--{name}={os.environ.get(variable, default)}' for name, (variable, default) in values.items()]
    return ['-m', 'torch.distributed.run', *options, f'--nproc_per_node={processes}']


def command(config: str, work_dir: Path, before: str | None, args: argparse.Namespace) -> list[str]:
    """Command that trains one stage.

    Args:
        config: Path of the config file.
        work_dir: Work folder of the stage.
        before: Checkpoint of the previous stage; None for the first stage.
        args: Arguments of this command.
    """
    return [
        sys.executable,
        *(launcher(args.gpus) if args.gpus else []),
        '-m',
        'mmdvis',
        'train',
        config,
        '--work-dir',
        str(work_dir),
        *(['--launcher', 'pytorch'] if args.gpus else []),
        *(['--resume'] if args.resume else []),
        *(['--amp', args.amp] if args.amp else []),
        *(['--accumulate', str(args.accumulate)] if args.accumulate != 1 else []),
        *(['--load-from', before] if before else []),
        *(['--cfg-options', *args.cfg_options] if args.cfg_options else []),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains the stages; stops at the first stage that fails or writes no checkpoint."""
    args = parse_args(arguments)
    missing = [config for config in args.configs if not Path(config).is_file()]
    if missing:
        raise SystemExit(f'there is no config file {missing[0]}')
    checkpoint = None
    with exit_on_error():
        for config in args.configs:
            work_dir = Path(args.work_dir) / Path(config).stem
            if subprocess.run(command(config, work_dir, checkpoint, args)).returncode:
                raise SystemExit(f'training of {config} failed; see its log in {work_dir}')
            last = latest_checkpoint(work_dir)
            best = best_checkpoint(work_dir) or (last and last[0])
            if best is None:
                raise SystemExit(
                    f'training of {config} wrote no checkpoint to {work_dir}, so the next stage cannot start'
                )
            checkpoint = str(best)
            print(f'{"last" if last and best == last[0] else "best"} checkpoint: {checkpoint}', flush=True)


if __name__ == '__main__':
    main()
