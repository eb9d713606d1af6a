"""Analyses the errors of results on disk.

Prints how much of the distance to a perfect score each kind of error costs: classes, association, masks, missed and
false segments, each replaced by the ground truth on its own. For panoptic results, also prints scores per class and
video and the numbers of identity switches, and draws the videos with the lowest scores. See report.md.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from prettytable import PrettyTable, TableStyle
from tqdm import tqdm

from mmdvis.analysis.error_analysis import analyse, per_class_figures, worst_first, write_worst
from mmdvis.analysis.score_loss import AS_IT_IS, Losses, panoptic_losses, semantic_losses, track_losses
from mmdvis.errors import BadInputError
from mmdvis.evaluation.files.scoring import FLAVOURS
from mmdvis.io import atomic_write, write_json

NEEDED = dict(vps=('gt_json', 'gt_dir'), vss=('gt_dir', 'names'), vis=('gt_json',))  # task -> options


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--task', choices=NEEDED, default='vps', help='panoptic, semantic or instance segmentation')
    parser.add_argument('--flavour', choices=FLAVOURS, default='vipseg', help='vps: dataset that determines the format')
    parser.add_argument('--gt-json', type=Path, help='vps, vis: json of the ground truth')
    parser.add_argument(
        '--gt-dir', type=Path, help='vps: folder with the PNGs of the ground truth; vss: folder of VSPW'
    )
    parser.add_argument('--names', type=Path, help='vss: text file with one video per line')
    parser.add_argument(
        '--pred',
        type=Path,
        required=True,
        help='vps: folder with pred.json and pan_pred/; vss: folder with the PNGs of each video; vis: results.json',
    )
    parser.add_argument('--out', type=Path, required=True, help='folder for report.md, analysis.json and the images')
    parser.add_argument('--worst', type=int, default=5, help='vps: number of videos with the lowest scores to draw')
    parser.add_argument('--viewers', type=Path, help='vps: folder with <video>/viewer.html of mmdvis run, to link to')
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


def loss_table(losses: Losses) -> str:
    """Table of the scores after each substitution, and of the points gained by it."""
    first, metrics = losses[AS_IT_IS], list(losses[AS_IT_IS])
    rows = PrettyTable(['replaced by the ground truth', *metrics])
    rows.align, rows.align['replaced by the ground truth'] = 'r', 'l'
    for name, figures in losses.items():
        cells = [f'{100 * figures[metric]:.1f}' for metric in metrics]
        if name != AS_IT_IS:
            cells = [f'{cell} ({100 * (figures[m] - first[m]):+.1f})' for cell, m in zip(cells, metrics)]
        rows.add_row(['nothing' if name == AS_IT_IS else name, *cells])
    rows.set_style(TableStyle.MARKDOWN)
    return str(rows)


def analyse_panoptic(args: argparse.Namespace, watch: Callable) -> tuple[dict, list[str]]:
    """Content of analysis.json, and the paragraphs of the report, of panoptic results."""
    files = FLAVOURS[args.flavour].read(args.gt_json, args.gt_dir, args.pred)
    videos = analyse(args.flavour, files, watch)
    classes = per_class_figures(args.flavour, files, videos)
    images = write_worst(files, videos, args.out / 'worst', args.worst)
    losses = panoptic_losses(args.flavour, files.truth.is_thing, [video.tables for video in videos.values()], watch)
    rows = {name: videos[name].row() for name in worst_first(videos)}
    print(table('class', classes, FLAVOURS[args.flavour].averaged))
    print(table('video', rows, ('VPQ', 'switches', 'right', 'switched', 'class', 'missed', 'false')))
    pictures = []
    for name, image in zip(rows, images):
        viewer = args.viewers and args.viewers / name / 'viewer.html'
        link = f' ([viewer]({viewer.resolve().as_uri()}))' if viewer and viewer.is_file() else ''
        heading = f'## {name}: VPQ {100 * rows[name]["VPQ"]:.1f}, {rows[name]["switches"]} identity switches{link}'
        pictures.append(f'{heading}\n\n![ground truth, prediction, errors](worst/{image.name})')
    return dict(losses=losses, classes=classes, videos=rows), pictures


def main() -> int:
    """Prints tables and writes images; returns exit code 2 if the files cannot be scored."""
    args = parse_args()

    def watch(jobs: Iterable) -> Iterable:
        return tqdm(jobs, unit='video', disable=None)

    try:
        missing = [f'--{name.replace("_", "-")}' for name in NEEDED[args.task] if getattr(args, name) is None]
        if missing:
            raise BadInputError(f'--task {args.task} needs {" and ".join(missing)}')
        if args.task == 'vps':
            content, paragraphs = analyse_panoptic(args, watch)
        elif args.task == 'vss':
            content, paragraphs = dict(losses=semantic_losses(args.gt_dir, args.names, args.pred, watch)), []
        else:
            content, paragraphs = dict(losses=track_losses(args.gt_json, args.pred, watch)), []
    except (BadInputError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    text = loss_table(content['losses'])
    print(text)
    write_json(args.out / 'analysis.json', content, indent=1)
    with atomic_write(args.out / 'report.md') as temporary:
        temporary.write_text('\n\n'.join(['# Errors', text, *paragraphs]) + '\n')
    print(args.out / 'report.md')
    return 0


if __name__ == '__main__':
    sys.exit(main())
