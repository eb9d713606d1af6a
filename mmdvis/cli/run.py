"""Segments videos and writes an mp4, maps as PNGs and a json for each of them."""

import argparse
import glob
import sys
from collections.abc import Sequence
from pathlib import Path

from mmdvis.apis import VideoSegInferencer, load
from mmdvis.checkpoints.zoo import DEFAULT
from mmdvis.cli.arguments import add_trust
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.errors import MMDVISError


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog='mmdvis run', description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('sources', nargs='+', metavar='SOURCE', help='video file, folder of frames, or pattern (*.mp4)')
    parser.add_argument('--model', default=DEFAULT, help='name (see `mmdvis models`), checkpoint or config')
    parser.add_argument('--weights', help='checkpoint; required for configs and for names without published weights')
    parser.add_argument('--out', required=True, help='output folder; each source gets a folder of its own in it')
    parser.add_argument('--device', default='auto', help='device of the model; auto: the first GPU, or else the CPU')
    parser.add_argument('--offline', action='store_true', help='process the whole video before the first result')
    parser.add_argument('--short-edge', type=int, help='short edge of the processed frames; None: that of the model')
    parser.add_argument('--fps', type=float, default=24.0, help='frames per second for folders of frames')
    add_trust(parser)
    return parser.parse_args(arguments)


def expand(sources: Sequence[str]) -> list[Path]:
    """Paths of all sources; patterns are expanded in alphabetical order.

    Raises:
        ValueError: A pattern matches nothing, or two sources would get the same folder.
    """
    paths: list[Path] = []
    for source in sources:
        matches = sorted(glob.glob(source)) if glob.has_magic(source) and not Path(source).exists() else [source]
        if not matches:
            raise ValueError(f'no file matches {source}; check the pattern')
        paths += map(Path, matches)
    names = [path.resolve().stem for path in paths]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate:
        raise ValueError(f'two sources are called {duplicate}, so they would get the same folder; run them one by one')
    return paths


def run(model: VideoSegInferencer, paths: Sequence[Path], args: argparse.Namespace) -> list[str]:
    """Segments the sources; returns a message for each that failed."""
    failures = []
    for path in paths:
        try:
            written = model(path, args.offline).save(Path(args.out) / path.resolve().stem, True, args.fps)
            print(*written.values(), sep='\n')
        except (MMDVISError, OSError) as error:
            failures.append(f'{path}: {error}')
    return failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Segments the sources and prints the written paths; returns 1 if a source failed."""
    args = parse_args(arguments)
    with exit_on_error(ValueError):
        paths = expand(args.sources)
        if args.model == DEFAULT and args.weights is None:
            print(f'using {DEFAULT}, which knows shapes of synthetic videos only; choose a model with --model')
        model = load(args.model, args.weights, args.device, trust=args.trust)
    if args.short_edge:
        model = VideoSegInferencer(model.model, args.short_edge, model.max_edge)
    failures = run(model, paths, args)
    for failure in failures:
        print(f'error: {failure}', file=sys.stderr)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
