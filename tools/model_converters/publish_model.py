"""Writes a checkpoint for a model zoo: the weights and what they need, without the optimizer, named by their hash."""

import argparse
import os
from pathlib import Path
from typing import Any

import torch

from mmdvis.checkpoints import meta_of, read_checkpoint, state_dict_of
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.annotation_index import file_digest

KEPT = (
    'cfg',
    'dataset_meta',
    'switches',
    'mmengine_version',
    'mmdvis_version',
    'experiment_name',
)  # of a checkpoint's meta information


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path, help='checkpoint of a training')
    parser.add_argument('out', type=Path, help='file to write; its name gets the first eight digits of its hash')
    parser.add_argument('--trust', action='store_true', help='load the checkpoint without guarding against code in it')
    return parser.parse_args()


def published(content: Any) -> dict[str, Any]:
    """What of a checkpoint is published: weights on the CPU, and the part of ``meta`` that tests need."""
    meta = {key: value for key, value in meta_of(content).items() if key in KEPT}
    return dict(meta=meta, state_dict={name: value.cpu().clone() for name, value in state_dict_of(content).items()})


def main() -> None:
    """Writes the file and prints its name."""
    args = parse_args()
    with exit_on_error():
        content = published(read_checkpoint(args.checkpoint, trust=args.trust))
        args.out.parent.mkdir(parents=True, exist_ok=True)
        temporary = args.out.with_name(f'.{args.out.name}.part')
        torch.save(content, temporary)
        final = args.out.with_name(f'{args.out.stem}-{file_digest(temporary)[:8]}{args.out.suffix or ".pth"}')
        os.replace(temporary, final)
    print(f'{final}: {len(content["state_dict"])} tensors, {final.stat().st_size / 2**20:.1f} MB')


if __name__ == '__main__':
    main()
