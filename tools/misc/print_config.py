"""Prints the resolved config, and the training and test pipelines that its datasets expand to."""

import argparse
from typing import Any

from mmengine.config import Config

import mmdvis.registry  # noqa: F401 (configs may inherit from mmdvis::...)
from mmdvis.analysis.check_dataset import datasets_in
from mmdvis.cli.arguments import add_config_options
from mmdvis.datasets.base import train_transforms
from mmdvis.datasets.transforms import OpenVideo


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('config', help='config file')
    add_config_options(parser)
    parser.add_argument('--pipelines-only', action='store_true', help='print only the pipelines')
    return parser.parse_args()


def describe(transform: Any) -> str:
    """A transform as a call with its options."""
    if hasattr(transform, 'transforms'):  # a composition such as RandomApply
        steps = ', '.join(map(describe, transform.transforms.transforms))
        return f'{type(transform).__name__}([{steps}], prob={transform.prob})'
    options = {name: value for name, value in vars(transform).items() if not name.startswith('_')}
    return f'{type(transform).__name__}({", ".join(f"{name}={value!r}" for name, value in options.items())})'


def pipeline_of(dataset: dict[str, Any]) -> list[Any]:
    """The transforms of a dataset config."""
    if dataset.get('test_mode'):
        return [OpenVideo(**(dataset.get('test') or {}))]
    return train_transforms(dataset.get('clip') or dict(num_frames=1), **(dataset.get('augment') or {}))


def main() -> None:
    """Prints the config and its pipelines."""
    args = parse_args()
    config = Config.fromfile(args.config)
    config.merge_from_dict(args.cfg_options or {})
    if not args.pipelines_only:
        print(config.pretty_text)
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        if not config.get(name):
            continue
        for dataset in datasets_in(config[name].dataset.to_dict()):
            print(f'# {name}: {dataset["type"]} {dataset.get("ann_file", "")}')
            for transform in pipeline_of(dataset):
                print(f'#     {describe(transform)}')


if __name__ == '__main__':
    main()
