"""Reads every file of the datasets of a config or a folder and reports all problems."""

import argparse
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from tqdm import tqdm

from mmdvis.analysis.check_dataset import check_dataset, datasets_in, report_table
from mmdvis.cli.arguments import program
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.detect_layout import find_datasets
from mmdvis.io import write_json


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('data check'),
        description=__doc__,
        epilog='exit code: 0 no problems, 1 problems were found, 2 the datasets could not be read',
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('source', help='config file, or folder of a dataset')
    parser.add_argument(
        '--any-classes', action='store_true', help='do not compare the classes with the known class list of the dataset'
    )
    parser.add_argument('--workers', type=int, default=2, help='number of processes')
    parser.add_argument('--show', type=int, default=20, help='maximum number of problems to print')
    parser.add_argument('--out', help='json file to write all problems to')
    return parser.parse_args(arguments)


def configs_of(source: Path) -> list[dict[str, Any]]:
    """Configs of the datasets of a config file, without duplicates, or of a folder."""
    if source.is_dir():
        return find_datasets(source)
    config, dataset_configs = Config.fromfile(source), []
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for dataset in datasets_in(config[name].dataset.to_dict()) if config.get(name) else ():
            if dataset not in dataset_configs:
                dataset_configs.append(dataset)
    return dataset_configs


def progress(name: str, videos: Iterable, total: int) -> Iterable:
    """Adds a progress bar to an iterable of videos.

    Args:
        name: Name in front of the progress bar.
        videos: Videos.
        total: Number of videos.
    """
    return tqdm(videos, desc=name, total=total, unit='video', disable=None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Checks the datasets, and prints and writes the problems."""
    args = parse_args(arguments)
    init_default_scope('mmdvis')
    try:
        with exit_on_error():
            configs = configs_of(Path(args.source))
    except SystemExit as error:
        print(error)
        raise SystemExit(2) from None
    reports = []
    for config in configs:
        config = dict(config, class_list=None) if args.any_classes else config
        reports.append(
            check_dataset(config, args.workers, partial(progress, Path(config.get('ann_file') or args.source).name))
        )
    print(report_table(reports))
    problems = [problem for report in reports for problem in report.problems]
    for problem in problems[: args.show]:
        print(f'{problem.kind}: {problem.text}')
    if len(problems) > args.show:
        print(f'and {len(problems) - args.show} more; use --out to write all problems to a file')
    if args.out:
        write_json(args.out, [report.summary() for report in reports], indent=1)
    raise SystemExit(1 if problems else 0)


if __name__ == '__main__':
    main()
