"""Writes results for a labelling tool, where they can be corrected."""

import argparse
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from mmdvis.cli.arguments import program
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.io import open_frames
from mmdvis.result_files import SavedResults
from mmdvis.result_files.label_export import WRITERS, export_labels


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('data export'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('results', type=Path, help='folder of a video that `mmdvis run --save json masks` wrote')
    parser.add_argument('out', type=Path, help='output folder')
    parser.add_argument('--to', dest='tool', choices=WRITERS, default='cvat', help='format')
    parser.add_argument('--frames', type=Path, help='the video, or its folder of frames; written to OUT/images')
    parser.add_argument(
        '--polygons',
        action='store_true',
        help='write outlines instead of masks, which CVAT shows as tracks; holes and smaller parts are lost',
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files and prints how to read them back."""
    args = parse_args(arguments)
    with exit_on_error():
        results = SavedResults(args.results)
        frames = None if args.frames is None else open_frames(args.frames)
        bar = partial(tqdm, desc=args.tool, unit='frame', disable=None)
        counts = export_labels(results, args.out, args.tool, frames, args.polygons, bar)
    print(f'{args.out}: {counts["frames"]} frames, {counts["objects"]} objects, {counts["masks"]} masks')
    if counts['lost']:
        print(f'{counts["lost"]} holes and smaller parts of masks were left out; without --polygons, they are kept')
    if frames is not None:
        classes = args.results / 'result.json'
        words = ['mmdvis', 'data', 'convert', 'labels', str(args.out), 'DATASET', '--from', args.tool]
        print(f'read back with: {shlex.join([*words, "--classes", str(classes)])}')
    return 0
