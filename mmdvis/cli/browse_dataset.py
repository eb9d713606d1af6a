"""Draws clips of a dataset with their objects, before and after augmentation.

Writes a video per clip and an image with all clips.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from tqdm import tqdm

from mmdvis.analysis.browse_dataset import contact_sheet, training_clip, whole_video, write_clip
from mmdvis.analysis.check_dataset import datasets_in
from mmdvis.cli.arguments import program
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.detect_layout import find_datasets
from mmdvis.errors import DataError
from mmdvis.registry import DATASETS


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('data browse'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('source', help='config file, or folder of a dataset')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train', help='dataloader of the config')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/browse'), help='output folder')
    parser.add_argument('--number', type=int, default=4, help='number of clips per dataset')
    parser.add_argument('--columns', type=int, default=5, help='number of frames per clip in the image')
    parser.add_argument('--num-frames', type=int, help='number of frames per clip; None: as in the config')
    parser.add_argument(
        '--any-classes', action='store_true', help='do not compare the classes with the known class list of the dataset'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='random seed of the selection of clips and of the augmentation'
    )
    return parser.parse_args(arguments)


def of_config(path: Path, loader: str) -> list[dict[str, Any]]:
    """Configs of the datasets of a dataloader.

    Args:
        path: Path of the config file.
        loader: Name of the dataloader.

    Raises:
        DataError: If the config has no such dataloader.
    """
    config = Config.fromfile(path)
    if not config.get(loader):
        available = [name for name in ('train', 'val', 'test') if config.get(f'{name}_dataloader')]
        advice = f'--split must be {" or ".join(available)}' if available else 'use a config that loads a dataset'
        raise DataError(f'{path} has no {loader}; {advice}')
    return datasets_in(config[loader].dataset.to_dict())


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws clips into one image and prints its path."""
    args = parse_args(arguments)
    if args.number < 1 or args.columns < 1:
        raise SystemExit(f'--number and --columns must be at least 1, got {args.number} and {args.columns}')
    init_default_scope('mmdvis')
    np.random.seed(args.seed)
    clips = []
    with exit_on_error():
        source = Path(args.source)
        dataset_configs = find_datasets(source) if source.is_dir() else of_config(source, f'{args.split}_dataloader')
        for config in dataset_configs:
            if args.any_classes:
                config['class_list'] = None
            if not config.get('test_mode'):
                config['clip'] = dict(
                    config.get('clip') or {},
                    num_frames=args.num_frames or (config.get('clip') or {}).get('num_frames', args.columns),
                )
            dataset = DATASETS.build(config)
            show = whole_video if dataset.test_mode else training_clip
            for index in tqdm(
                np.random.permutation(len(dataset))[: args.number].tolist(), desc=dataset.origin.name, disable=None
            ):
                name = f'{dataset.origin.stem} {dataset.get_data_info(index)["video_id"]}'
                clips.append((name, show(dataset, index)))
                write_clip(clips[-1][1], args.out / f'{name.replace(" ", "_").replace("/", "_")}.mp4')
    args.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(contact_sheet(clips, args.columns)).save(args.out / 'clips.png')
    print(f'{len(clips)} clips: {args.out / "clips.png"}')


if __name__ == '__main__':
    main()
