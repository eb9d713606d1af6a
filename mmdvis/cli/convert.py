"""Converters of official releases and labelling tools to the layouts that the configs expect."""

import itertools
import sys
from collections.abc import Sequence

from mmdvis.cli.main import Commands, run_command

COMMANDS: Commands = {
    'labels': (
        'mmdvis.cli.convert_labels',
        'videos of labelme, CVAT, Label Studio, COCO, datumaro, MOTS or mask images',
    ),
    'vipseg': ('mmdvis.cli.convert_vipseg', 'VIPSeg'),
    'vspw': ('mmdvis.cli.convert_vspw', 'VSPW'),
    'viper': ('mmdvis.cli.convert_viper', 'VIPER'),
    'cityscapes-vps': ('mmdvis.cli.convert_cityscapes_vps', 'Cityscapes-VPS'),
    'coco': ('mmdvis.cli.convert_coco', 'COCO images as videos'),
    'toy': ('mmdvis.cli.make_toy_videos', 'synthetic videos'),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a converter; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    paths = list(itertools.takewhile(lambda word: not word.startswith('-'), words))
    has_format = any(word.startswith('--from') for word in words)
    if has_format and not (
        paths[:1] == ['labels'] and len(paths) != 2
    ):  # `mmdvis data convert SOURCE OUT --from FORMAT`
        words.insert(0, 'labels')
    return run_command(
        'mmdvis data convert', 'Convert an official release, or videos of a labelling tool.', COMMANDS, words
    )


if __name__ == '__main__':
    sys.exit(main())
