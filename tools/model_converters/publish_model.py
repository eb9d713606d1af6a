"""Publishes a checkpoint: keeps the weights and the required meta information, and adds a hash to the file name."""

import argparse
import os
from pathlib import Path
from typing import Any

import torch

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
    add_trust(parser)
    return parser.parse_args()


def published(content: Any) -> dict[str, Any]:
    """Content of a published checkpoint: weights on the CPU, and the meta information that inference requires."""
    meta = {key: value for key, value in meta_of(content).items() if key in KEPT}
    return dict(meta=meta, state_dict={name: value.cpu().clone() for name, value in state_dict_of(content).items()})


def main() -> None:
    """Writes the file and prints its path."""
    args = parse_args()
    with exit_on_error():
        content = published(read_checkpoint(args.checkpoint, trust=args.trust))
        with atomic_write(args.out) as temporary:  # leaves nothing behind, because the file is moved to its final name
            torch.save(content, temporary)
            final = args.out.with_name(f'{args.out.stem}-{file_digest(temporary)[:8]}{args.out.suffix or ".pth"}')
            os.replace(temporary, final)
    print(f'{final}: {len(content["state_dict"])} tensors, {final.stat().st_size / 2**20:.1f} MB')


if __name__ == '__main__':
    main()
