"""Evaluates results on disk in the formats of the official benchmarks; does not need a model."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prettytable import PrettyTable
from tqdm import tqdm

from mmdvis.cli.arguments import program
from mmdvis.errors import MMDVISError
from mmdvis.evaluation.files.scoring import (
    FLAVOURS,
    Scores,
    default_workers,
    score_pq,
    score_stq,
    score_vis,
    score_vpq,
    score_vss,
)
from mmdvis.io import write_json


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('score'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('--json', type=Path, help='json file to write the metrics to, in [0, 1]')
    common.add_argument('--details', type=Path, help='json file to write the metrics of every class and video to')
    common.add_argument('--per-class', action='store_true', help='also print a table of classes')
    common.add_argument('--per-video', action='store_true', help='also print a table of videos')
    common.add_argument('--workers', type=int, help='number of processes; None: one for each CPU, at most eight')
    tasks = parser.add_subparsers(dest='task', required=True, metavar='TASK')
    options: dict[str, Any] = dict(parents=[common], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    vpq = tasks.add_parser('vpq', help='video panoptic quality', **options)
    stq = tasks.add_parser('stq', help='segmentation and tracking quality', **options)
    vss = tasks.add_parser('vss', help='video semantic segmentation (VSPW)', **options)
    pq = tasks.add_parser('pq', help='image panoptic quality (COCO)', **options)
    vis = tasks.add_parser('vis', help='average precision of tracks (YouTube-VIS, OVIS)', **options)
    for task in (vpq, stq):
        task.add_argument('--flavour', choices=FLAVOURS, default='vipseg', help='dataset that determines the format')
    for task in (vpq, stq, pq):
        task.add_argument('--gt-json', type=Path, required=True, help='json of the ground truth')
        task.add_argument('--gt-dir', type=Path, required=True, help='folder with the PNGs of the ground truth')
    for task in (vpq, stq):
        task.add_argument('--pred', type=Path, required=True, help='folder with pred.json and pan_pred/')
    vpq.add_argument(
        '--exclude-classes',
        type=int,
        nargs='*',
        default=[],
        metavar='ID',
        help='category ids to exclude from the averages (the public code of VIPER excludes 11)',
    )
    pq.add_argument('--pred-json', type=Path, required=True, help='json of the predictions')
    pq.add_argument('--pred-dir', type=Path, required=True, help='folder with the PNGs of the predictions')
    vss.add_argument('--gt', type=Path, required=True, help='folder with data/<video>/mask/')
    vss.add_argument('--list', type=Path, required=True, help='text file with one video name per line')
    vss.add_argument('--pred', type=Path, required=True, help='folder with <video>/<frame>.png')
    vis.add_argument('--gt', type=Path, required=True, help='json of the ground truth')
    vis.add_argument('--pred', type=Path, required=True, help='results.json of the predictions')
    vis.add_argument('--ovis', action='store_true', help='also evaluate by degree of occlusion')
    vis.add_argument(
        '--long-min-frames',
        type=int,
        metavar='N',
        help='also evaluate short videos and long videos with at least N frames (YouTube-VIS 2022)',
    )
    return parser.parse_args(arguments)


def score(args: argparse.Namespace) -> Scores:
    """Computes the metrics of the task of the command line."""
    workers = default_workers() if args.workers is None else args.workers
    options: dict[str, Any] = dict(workers=workers, watch=partial(tqdm, unit='video', disable=None, leave=False))
    if args.task == 'vpq':
        return score_vpq(args.flavour, args.gt_json, args.gt_dir, args.pred, args.exclude_classes, **options)
    if args.task == 'stq':
        return score_stq(args.flavour, args.gt_json, args.gt_dir, args.pred, **options)
    if args.task == 'vss':
        return score_vss(args.gt, args.list, args.pred, **options)
    if args.task == 'pq':
        return score_pq(args.gt_json, args.gt_dir, args.pred_json, args.pred_dir, **options)
    return score_vis(args.gt, args.pred, args.ovis, args.long_min_frames, **options)


def table(title: str, rows: dict[str, dict[str, float]]) -> str:
    """Formats metrics as a text table in percent.

    Args:
        title: Header of the first column.
        rows: Row name -> (column -> value in [0, 1]).
    """
    columns: list[str] = list(dict.fromkeys(name for row in rows.values() for name in row))
    table = PrettyTable([title, *columns])
    table.align, table.align[title] = 'r', 'l'
    for name, row in rows.items():
        table.add_row([name, *('' if column not in row else f'{100 * row[column]:.2f}' for column in columns)])
    return str(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints tables; returns exit code 2 if the files cannot be evaluated."""
    args = parse_args(arguments)
    try:
        scores = score(args)
    except MMDVISError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    if args.per_class and scores.per_class:
        print(table('class', scores.per_class))
    if args.per_video and scores.per_video:
        print(table('video', scores.per_video))
    print(table(args.task, {'all': scores.figures}))
    for note in scores.notes:
        print(note)
    details = dict(figures=scores.figures, per_class=scores.per_class, per_video=scores.per_video)
    for path, content in ((args.json, scores.figures), (args.details, details)):
        if path:
            write_json(path, content, indent=1)
    return 0


if __name__ == '__main__':
    sys.exit(main())
