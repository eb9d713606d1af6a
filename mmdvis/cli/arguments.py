"""Arguments that several command line tools have."""

import argparse
import os

from mmengine.config import DictAction


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--cfg-options``."""
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides of the config, as key=value')


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Adds ``--trust``."""
    parser.add_argument(
        '--trust',
        action='store_true',
        help='allow unrestricted unpickling of checkpoints, which can execute arbitrary code',
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
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
