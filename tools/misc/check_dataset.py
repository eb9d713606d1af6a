"""Reads every file of the datasets of a config or a folder, and tells all that is wrong with them."""

import argparse
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from tqdm import tqdm

import mmdvis.registry  # noqa: F401 (configs may inherit from mmdvis::...)
from mmdvis.analysis.check_dataset import check_dataset, datasets_in, report_table
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.detect_layout import find_datasets


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog='exit code: 0 all is well, 1 there are problems, 2 nothing read'
    )
    parser.add_argument('source', help='config file, or folder of a dataset')
    parser.add_argument('--any-classes', action='store_true', help='do not compare the class list with the known one')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    parser.add_argument('--show', type=int, default=20, help='problems to print')
    parser.add_argument('--out', help='write everything to this json file')
    return parser.parse_args()


def configs_of(source: Path) -> list[dict[str, Any]]:
    """The datasets of a config (each once), or of a folder."""
    if source.is_dir():
        return find_datasets(source)
    config, found = Config.fromfile(source), []
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        for dataset in datasets_in(config[name].dataset.to_dict()) if config.get(name) else ():
            if dataset not in found:
                found.append(dataset)
    return found


def progress(name: str, videos: Iterable, total: int) -> Iterable:
    """The videos with a progress bar."""
    return tqdm(videos, desc=name, total=total, unit='video', disable=None)


def main() -> None:
    """Checks, prints and writes."""
    args = parse_args()
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
        print(f'and {len(problems) - args.show} more; --out writes all')
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps([report.summary() for report in reports], indent=1))
    raise SystemExit(1 if problems else 0)


if __name__ == '__main__':
    main()
