"""Converts videos of a labelling tool to a dataset that mmdvis trains on."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmdvis.cli.arguments import program
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.classes import ClassList
from mmdvis.datasets.converters.labels import (
    READERS,
    WRITERS,
    LabelledVideo,
    classes_of_file,
    classes_of_labels,
    write_videos,
)
from mmdvis.datasets.converters.labels.writers import hidden_objects
from mmdvis.errors import OptionError
from mmdvis.io import replace_together, work_folder


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('data convert labels'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('source', type=Path, help='folder of the tool: a video, or several in folders of their own')
    parser.add_argument('out', type=Path, help='output folder')
    parser.add_argument('--from', dest='format', choices=READERS, required=True, help='format of the source')
    parser.add_argument('--to', dest='layout', choices=WRITERS, default='vipseg', help='layout of the dataset')
    parser.add_argument(
        '--stuff', nargs='+', default=[], metavar='CLASS', help='classes that are regions and not countable objects'
    )
    parser.add_argument(
        '--classes',
        type=Path,
        metavar='JSON',
        help='file whose `categories` are the classes, such as result.json of `mmdvis run`; None: those of the labels',
    )
    parser.add_argument(
        '--val',
        type=float,
        default=0.2,
        help='share of the videos for validation, chosen by their names; splits of the source are not kept',
    )
    return parser.parse_args(arguments)


def notes(videos: Sequence[LabelledVideo], classes: ClassList, layout: str) -> Iterator[str]:
    """What a user may not expect: things without identity, and objects that are hidden in all frames."""
    things = set(classes.names[: classes.num_things])
    names = sorted({o.label for v in videos for o in v.objects if not o.has_identity and o.label in things})
    if names:
        yield (
            f'note: all shapes of {", ".join(names)} without identity are one object in each video; number them in the '
            'tool (group id, track), or name the class in --stuff'
        )
    hidden = sum(map(hidden_objects, videos)) if layout != 'ytvis' else 0  # there, masks may overlap
    if hidden:
        yield f'note: {hidden} objects are hidden by others in all frames, and are not part of the dataset'


def main(arguments: Sequence[str] | None = None) -> int:
    """Converts the videos and prints what was written."""
    args = parse_args(arguments)
    with exit_on_error():
        if not 0 <= args.val < 1:
            raise OptionError(f'--val must be from 0 to below 1, got {args.val}')
        if args.out.exists() and any(args.out.iterdir()):
            raise OptionError(f'{args.out} is not empty; name a new folder')
        if args.stuff and args.classes is not None:
            raise OptionError('--classes tells which classes are stuff; leave out --stuff')
        videos = READERS[args.format](args.source)
        classes = (
            classes_of_labels(videos, args.stuff) if args.classes is None else classes_of_file(args.classes, videos)
        )
        frames, objects = sum(len(v.images) for v in videos), sum(len(v.objects) for v in videos)
        print(f'videos: {len(videos)}, frames: {frames}, objects: {objects}')
        for line in notes(videos, classes, args.layout):
            print(line)
        args.out.mkdir(parents=True, exist_ok=True)
        with work_folder(args.out) as work:
            written = list(write_videos(videos, work, args.layout, classes, args.val))
            replace_together(work, args.out)
        for split, path, number in written:
            print(f'{split}: {number} videos, {args.out / path.relative_to(work)}')
    return 0
