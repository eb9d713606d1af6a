"""Analyses the errors of panoptic results on disk.

Prints scores per class and video and the numbers of identity switches, and draws the videos with the lowest scores.
"""

import argparse
import sys
from pathlib import Path

from prettytable import PrettyTable
from tqdm import tqdm

from mmdvis.analysis.error_analysis import analyse, per_class_figures, worst_first, write_worst
from mmdvis.errors import BadInputError
from mmdvis.evaluation.files.scoring import FLAVOURS
from mmdvis.io import write_json


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--flavour', choices=FLAVOURS, default='vipseg', help='dataset that determines the format')
    parser.add_argument('--gt-json', type=Path, required=True, help='json of the ground truth')
    parser.add_argument('--gt-dir', type=Path, required=True, help='folder with the PNGs of the ground truth')
    parser.add_argument('--pred', type=Path, required=True, help='folder with pred.json and pan_pred/')
    parser.add_argument('--out', type=Path, required=True, help='folder for analysis.json and the images')
    parser.add_argument('--worst', type=int, default=5, help='number of videos with the lowest scores to draw')
    return parser.parse_args()


def table(title: str, rows: dict, columns: tuple) -> str:
    """Formats rows of numbers as a text table; fractions are shown in percent, counts as integers.

    Args:
        title: Header of the first column.
        rows: Row name -> (column -> value).
        columns: Columns to show.
    """
    table = PrettyTable([title, *columns])
    table.align, table.align[title] = 'r', 'l'
    for name, row in rows.items():
        cells = [row.get(column, float('nan')) for column in columns]
        table.add_row([name, *(cell if isinstance(cell, int) else f'{100 * cell:.1f}' for cell in cells)])
    return str(table)


def main() -> int:
    """Prints tables and writes images; returns exit code 2 if the files cannot be scored."""
    args = parse_args()
    try:
        files = FLAVOURS[args.flavour].read(args.gt_json, args.gt_dir, args.pred)
        videos = analyse(args.flavour, files, lambda jobs: tqdm(jobs, unit='video', disable=None))
        classes = per_class_figures(args.flavour, files, videos)
        images = write_worst(files, videos, args.out / 'worst', args.worst)
    except BadInputError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    rows = {name: videos[name].row() for name in worst_first(videos)}
    print(table('class', classes, FLAVOURS[args.flavour].averaged))
    print(table('video', rows, ('VPQ', 'switches', 'right', 'switched', 'class', 'missed', 'false')))
    write_json(args.out / 'analysis.json', dict(classes=classes, videos=rows), indent=1)
    for path in (args.out / 'analysis.json', *images):
        print(path)
    return 0


if __name__ == '__main__':
    sys.exit(main())
