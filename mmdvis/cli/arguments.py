"""Arguments that several command line tools have."""

import argparse
import os
import sys
from pathlib import Path

from mmengine.config import DictAction

from mmdvis.errors import BadInputError

Parser = argparse.ArgumentParser | argparse._ArgumentGroup


def program(command: str) -> str | None:
    """Name of a command in its help text: None (that of the script) if it was not started as ``mmdvis COMMAND``."""
    return f'mmdvis {command}' if Path(sys.argv[0]).name in ('mmdvis', '__main__.py') else None


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--cfg-options``."""
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config, as key=value')


def add_trust(parser: Parser) -> None:
    """Adds ``--trust``."""
    parser.add_argument(
        '--trust',
        action='store_true',
        help='allow unrestricted unpickling of checkpoints, which can execute arbitrary code',
    )


def add_max_memory(parser: Parser) -> None:
    """Adds ``--max-memory``; see :func:`max_memory_of`."""
    parser.add_argument(
        '--max-memory',
        type=float,
        metavar='GB',
        help='maximum memory that --offline may use for the features of a video; features that do not fit are written '
        'to a temporary file or recomputed; None: no limit',
    )


def max_memory_of(args: argparse.Namespace) -> int | None:
    """Value of ``--max-memory`` in bytes; None without a limit."""
    return None if args.max_memory is None else int(args.max_memory * 2**30)


def add_launcher(parser: Parser) -> None:
    """Adds ``--launcher`` and ``--local_rank``; see :func:`set_local_rank`."""
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='launcher of a distributed run'
    )
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help='rank of the process on its machine, set by the launcher',
    )


def set_local_rank(args: argparse.Namespace) -> None:
    """Passes ``--local_rank`` on to mmengine, unless the launcher set the environment variable."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))


RANKS = {  # launcher -> environment variables of the rank of a process, the number of processes, and the local rank
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


def process_of(launcher: str) -> tuple[int, int, int]:
    """Rank of this process, number of processes, and rank on this machine, as the launcher set them.

    Raises:
        BadInputError: The launcher did not set them.
    """
    if launcher == 'none':
        return 0, 1, 0
    missing = [name for name in RANKS[launcher] if not os.environ.get(name, '').isdecimal()]
    if missing:
        raise BadInputError(
            f'--launcher {launcher} needs the environment variable {missing[0]}, which is not set; start the command '
            'with the launcher, such as `torchrun --nproc-per-node 2 -m mmdvis run ...`'
        )
    rank, number, local = (int(os.environ[name]) for name in RANKS[launcher])
    return rank, number, local
