"""Publishes a checkpoint: keeps the weights and the required meta information, and adds a hash to the file name."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmdvis.checkpoints import meta_of, read_checkpoint, state_dict_of
from mmdvis.cli.arguments import add_trust
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.annotation_index import file_digest
from mmdvis.io import atomic_write

KEPT = (
    'cfg',
    'dataset_meta',
    'switches',
    'mmengine_version',
    'mmdvis_version',
    'experiment_name',
)  # entries of the meta information that are kept


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('checkpoint', type=Path, help='checkpoint of a training run')
    parser.add_argument(
        'out', type=Path, help='file to write; the first eight digits of its hash are appended to the name'
    )
    parser.add_argument('--half', action='store_true', help='store the weights in half precision')
    parser.add_argument(
        '--config', help='config file to store in place of the one in the checkpoint, which may contain local paths'
    )
    parser.add_argument(
        '--info', nargs='*', default=[], metavar='KEY=VALUE', help='entries to add, e.g. command, commit and metrics'
    )
    add_trust(parser)
    return parser.parse_args()


def published(content: Any, half: bool = False, config: str | None = None, info: Sequence[str] = ()) -> dict[str, Any]:
    """Content of a published checkpoint: weights on the CPU, and the meta information that inference requires.

    Args:
        content: Content of the checkpoint.
        half: Whether to store the weights in half precision.
        config: Path of a config that replaces the one in the checkpoint.
        info: Entries ``key=value`` of ``meta['published']``.

    Raises:
        ValueError: If an entry of ``info`` has no ``=``, or a weight is not finite in half precision.
    """
    meta = {key: value for key, value in meta_of(content).items() if key in KEPT}
    if config is not None:
        meta['cfg'] = Config.fromfile(config).pretty_text
    for entry in info:
        if '=' not in entry:
            raise ValueError(f'--info must have the form KEY=VALUE, got {entry!r}')
    if info:
        meta['published'] = dict(entry.split('=', 1) for entry in info)
    weights = {name: value.cpu().clone() for name, value in state_dict_of(content).items()}
    if half:
        weights = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
        overflow = next((name for name, value in weights.items() if not value.isfinite().all()), None)
        if overflow:
            raise ValueError(f'{overflow} is not finite in half precision; publish without --half')
    return dict(meta=meta, state_dict=weights)


def main() -> None:
    """Writes the file and prints its path."""
    args = parse_args()
    with exit_on_error(ValueError):
        checkpoint = read_checkpoint(args.checkpoint, trust=args.trust)
        content = published(checkpoint, args.half, args.config, args.info)
        with atomic_write(args.out) as temporary:  # leaves nothing behind, because the file is moved to its final name
            torch.save(content, temporary)
            final = args.out.with_name(f'{args.out.stem}-{file_digest(temporary)[:8]}{args.out.suffix or ".pth"}')
            os.replace(temporary, final)
    print(f'{final}: {len(content["state_dict"])} tensors, {final.stat().st_size / 2**20:.1f} MB')


if __name__ == '__main__':
    main()
