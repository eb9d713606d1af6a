"""Shows where panoptic results lose their score: classes, videos, identity switches, pictures of the worst videos."""

import argparse
import json
import sys
from pathlib import Path

from prettytable import PrettyTable
from tqdm import tqdm

from mmdvis.analysis.error_analysis import analyse, per_class_figures, worst_first, write_worst
from mmdvis.errors import BadInputError
from mmdvis.evaluation.files.scoring import FLAVOURS


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--flavour', choices=FLAVOURS, default='vipseg')
    parser.add_argument('--gt-json', type=Path, required=True)
    parser.add_argument('--gt-dir', type=Path, required=True)
    parser.add_argument('--pred', type=Path, required=True, help='folder with pred.json and pan_pred/')
    parser.add_argument('--out', type=Path, required=True, help='folder for analysis.json and the pictures')
    parser.add_argument('--worst', type=int, default=5, help='videos to draw')
    return parser.parse_args()


def table(title: str, rows: dict, columns: tuple) -> str:
    """Rows of figures; shares in percent, counts as they are."""
    text = PrettyTable([title, *columns])
    text.align, text.align[title] = 'r', 'l'
    for name, row in rows.items():
        cells = [row.get(column, float('nan')) for column in columns]
        text.add_row([name, *(cell if isinstance(cell, int) else f'{100 * cell:.1f}' for cell in cells)])
    return str(text)


def main() -> int:
    """Prints tables and writes pictures; the exit code is 2 where files cannot be scored."""
    args = parse_args()
    try:
        files = FLAVOURS[args.flavour].read(args.gt_json, args.gt_dir, args.pred)
        videos = analyse(args.flavour, files, lambda jobs: tqdm(jobs, unit='video', disable=None))
        classes = per_class_figures(args.flavour, files, videos)
        pictures = write_worst(files, videos, args.out / 'worst', args.worst)
    except BadInputError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    rows = {name: videos[name].row() for name in worst_first(videos)}
    print(table('class', classes, FLAVOURS[args.flavour].averaged))
    print(table('video', rows, ('VPQ', 'switches', 'right', 'switched', 'class', 'missed', 'false')))
    (args.out / 'analysis.json').write_text(json.dumps(dict(classes=classes, videos=rows), indent=1))
    for path in (args.out / 'analysis.json', *pictures):
        print(path)
    return 0


if __name__ == '__main__':
    sys.exit(main())
