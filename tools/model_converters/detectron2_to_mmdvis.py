"""Converts a detectron2 checkpoint of DVIS v1, MinVIS or Mask2Former (ResNet or Swin) to mmdvis."""
import argparse
import os
from pathlib import Path

import torch

from mmdvis.apis.weight_conversion import convert_detectron2
from mmdvis.structures import read_checkpoint, state_dict_of


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('src', help='.pth or .npz with the official names')
    parser.add_argument('dst', help='.pth to write')
    parser.add_argument('--allow-leftover', nargs='*', default=[], metavar='PREFIX',
                        help='beginnings of names that may be left behind')
    return parser.parse_args()


def main() -> None:
    """Converts, prints what became of every tensor, and writes the result."""
    args = parse_args()
    result = convert_detectron2(state_dict_of(read_checkpoint(args.src)))
    for old, new in result.renamed.items():
        print(f'renamed  {old} -> {new}')
    for old, why in result.dropped.items():
        print(f'dropped  {old}: {why}')
    left = [name for name in result.leftover if not name.startswith(tuple(args.allow_leftover) or ('\0', ))]
    for old in result.leftover:
        print(f'left     {old}')
    print(f'{len(result.renamed)} renamed, {len(result.dropped)} dropped, {len(result.leftover)} left over')
    if left:
        raise SystemExit(f'{len(left)} tensors of {args.src} have no place in mmdvis, the first is {left[0]}; '
                         'nothing was written. Name their prefix in --allow-leftover to go on without them')
    temporary = Path(args.dst).with_suffix('.tmp')
    temporary.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(meta=dict(source=Path(args.src).name), state_dict=result.state_dict), temporary)
    os.replace(temporary, args.dst)
    print(f'wrote {args.dst}')


if __name__ == '__main__':
    main()
