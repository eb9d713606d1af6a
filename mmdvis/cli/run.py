"""Segments videos and writes the objects of every frame with their classes and identities."""

import argparse
import glob
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from mmdvis.apis import SegmentedVideo, VideoSegInferencer, load
from mmdvis.apis.inferencer import pick_device
from mmdvis.checkpoints.zoo import default_model
from mmdvis.cli.arguments import add_launcher, add_max_memory, add_trust, max_memory_of, process_of
from mmdvis.cli.exit_on_error import exit_on_error, signals_as_exceptions
from mmdvis.errors import BadInputError, MMDVISError
from mmdvis.inference.optimize_for_inference import OPTIMISED
from mmdvis.inference.video_stream import ON_CUT
from mmdvis.io import IMAGE_SUFFIXES, is_live, natural_key, source_name
from mmdvis.result_files import DEFAULT_KINDS, KINDS
from mmdvis.visualization.visualizer import HIDEABLE, SHOWABLE

LOGGER = logging.getLogger('mmdvis')
MAX_SIZE, MIN_SIZE = 4096, 16
VIDEO_SUFFIXES = ('.mp4', '.mkv', '.mov', '.avi', '.webm', '.m4v', '.mpg', '.mpeg', '.ts', '.wmv', '.flv')
DONE = '.complete'  # marks a folder whose results are complete, so that a second run skips it


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog='mmdvis run', description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        'sources',
        nargs='+',
        metavar='SOURCE',
        help='video file, image, folder of frames, pattern (*.mp4), number of a camera, URL (rtsp://, http://), or - '
        'for a video on the standard input',
    )
    parser.add_argument('--out', required=True, help='output folder; each source gets a folder of its own in it')
    parser.add_argument('--save', nargs='+', choices=list(KINDS), default=list(DEFAULT_KINDS), help='what is written')
    add_model_options(parser)
    look = parser.add_argument_group('looks')
    look.add_argument('--alpha', type=float, default=0.55, help='opacity of the masks in the video, from 0 to 1')
    look.add_argument('--hide', nargs='+', choices=HIDEABLE, default=[], help='what the video does not show')
    look.add_argument('--show', nargs='+', choices=SHOWABLE, default=[], help='what the video shows in addition')
    look.add_argument('--compare', metavar='DIR', help='results of the same video that --save html shows beside these')
    look.add_argument(
        '--truth', metavar='PATH', help='ground truth to compare with in --save html: folder or VIPSeg-style JSON file'
    )
    files = parser.add_argument_group('sources')
    files.add_argument('--fps', type=float, default=24.0, help='frames per second for folders of frames')
    files.add_argument('--max-size', type=int, default=MAX_SIZE, help='longer edge to which larger frames are reduced')
    files.add_argument('--skip-finished', action='store_true', help='leave out sources whose results are complete')
    add_launcher(files)
    return parser.parse_args(arguments)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the model and of what it computes."""
    model = parser.add_argument_group('model')
    model.add_argument('--model', help='name (see `mmdvis models`), checkpoint, config, or folder of `mmdvis export`')
    model.add_argument('--weights', help='checkpoint; required for configs and for names without published weights')
    model.add_argument('--device', default='auto', help='device of the model; auto: the first GPU, or else the CPU')
    model.add_argument(
        '--precision',
        choices=OPTIMISED,
        help='precision of matrix products: fp32 (with folded batch norms), bf16, fp16, or int8 (only on a CPU); None: '
        'float32, without any change of the model',
    )
    model.add_argument(
        '--compile',
        action='store_true',
        help='compile parts of the model, which delays the first frame by some seconds; seldom pays on a CPU',
    )
    model.add_argument('--offline', action='store_true', help='process the whole video before the first result')
    add_max_memory(model)
    model.add_argument('--short-edge', type=int, help='short edge of the processed frames; None: that of the model')
    model.add_argument(
        '--score-thr', type=float, help='minimum score of an object; None: that of the model, or 0.3 for instances'
    )
    model.add_argument('--classes', nargs='+', metavar='CLASS', help='classes that are kept; None: all')
    model.add_argument('--on-cut', choices=ON_CUT, default='continue', help='identities after a cut to another scene')
    model.add_argument(
        '--keyframes',
        type=int,
        default=1,
        metavar='N',
        help='process every N-th frame, and move its results along the optical flow',
    )
    add_trust(model)


def check_numbers(args: argparse.Namespace) -> None:
    """Checks the numbers of the command line.

    Raises:
        BadInputError: One is out of range.
    """
    if not 0 <= args.alpha <= 1:
        raise BadInputError(f'--alpha must be from 0 to 1, got {args.alpha}')
    if args.keyframes < 1 or args.offline and args.keyframes != 1:
        raise BadInputError(f'--keyframes must be at least 1, and 1 with --offline, got {args.keyframes}')
    if args.max_memory is not None and not (args.offline and 0 < args.max_memory < float('inf')):
        raise BadInputError(f'--max-memory must be positive and requires --offline, got {args.max_memory}')
    if args.score_thr is not None and not 0 <= args.score_thr <= 1:
        raise BadInputError(f'--score-thr must be from 0 to 1, got {args.score_thr}')
    if args.compare is not None and args.truth is not None:
        raise BadInputError('--compare and --truth cannot be used together; choose one')
    if (args.compare or args.truth) and 'html' not in args.save:
        raise BadInputError(f'--compare and --truth require html in --save, got --save {" ".join(args.save)}')
    if not 0 < args.fps < float('inf'):
        raise BadInputError(f'--fps must be positive, got {args.fps}')
    for name, value in (('--max-size', args.max_size), ('--short-edge', args.short_edge)):
        if value is not None and value < MIN_SIZE:
            raise BadInputError(f'{name} must be at least {MIN_SIZE} pixels, got {value}')


def videos_in(folder: Path) -> list[str]:
    """The videos of a folder that contains no images, in natural order; empty for other paths."""
    if not folder.is_dir():
        return []
    files = sorted((path for path in folder.iterdir() if not path.name.startswith('.')), key=natural_key)
    if any(path.suffix.lower() in IMAGE_SUFFIXES for path in files):
        return []
    return [str(path) for path in files if path.suffix.lower() in VIDEO_SUFFIXES]


def expand(sources: Sequence[str]) -> list[str]:
    """All sources; patterns and folders of videos are expanded in order.

    Raises:
        BadInputError: A pattern matches nothing, or two sources would get the same folder.
    """
    expanded: list[str] = []
    for source in sources:
        is_pattern = glob.has_magic(source) and not is_live(source) and not Path(source).exists()
        matches = sorted(glob.glob(source)) if is_pattern else [source]
        if not matches:
            raise BadInputError(f'no file matches {source}; check the pattern')
        for match in matches:
            expanded += ([] if is_live(match) else videos_in(Path(match))) or [match]
    names = [source_name(source) for source in expanded]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate:
        raise BadInputError(
            f'two sources are called {duplicate}, so they would get the same folder; run them with different --out'
        )
    return expanded


def load_model(args: argparse.Namespace) -> VideoSegInferencer:
    """The model of the command line, or the default one."""
    name = args.model
    if name is None and args.weights is not None:
        name, args.weights = args.weights, None  # a checkpoint of mmdvis contains its config
    if name is None:
        name = default_model()
    options = {} if args.score_thr is None else {'model.postprocessor.score_thr': args.score_thr}
    fast = dict(precision=args.precision, compiled=args.compile)
    try:
        model = load(name, args.weights, args.device, options, args.trust, **fast)
    except TypeError as error:  # only panoptic models have this option
        if 'score_thr' not in str(error) and 'postprocessor' not in str(error):
            raise
        model = load(name, args.weights, args.device, trust=args.trust, **fast)
    if args.short_edge:
        return VideoSegInferencer(model.model, short_edge=args.short_edge, max_edge=model.max_edge)
    return model


def segment(model: VideoSegInferencer, source: str, args: argparse.Namespace) -> None:
    """Segments a source, writes its results, and prints where they are."""
    folder = Path(args.out) / source_name(source)
    (folder / DONE).unlink(missing_ok=True)
    compare, truth = (beside(path, folder.name) for path in (args.compare, args.truth))
    options = dict(on_cut=args.on_cut, classes=args.classes, score_thr=args.score_thr, keyframes=args.keyframes)
    limit = max_memory_of(args)
    video = model(source, offline=args.offline, max_size=args.max_size, max_memory=limit, **options)
    drawing = dict(alpha=args.alpha, hide=args.hide, show=args.show)
    try:
        written = video.save(folder, args.save, True, args.fps, compare, truth, **drawing)
    finally:
        video.close()
    (folder / DONE).write_text(' '.join(args.save))
    print(*written.values(), sep='\n')
    report(video)


def beside(path: str | None, name: str) -> str | None:
    """The results to compare a source with: the folder of its name in ``path`` if there is one, or ``path`` itself."""
    return str(Path(path) / name) if path is not None and (Path(path) / name).is_dir() else path


def is_finished(folder: Path, kinds: Sequence[str]) -> bool:
    """Whether a folder has complete results of these kinds."""
    mark = folder / DONE
    return mark.exists() and set(kinds) <= set(mark.read_text().split())


def report(video: SegmentedVideo) -> None:
    """Prints what was unusual about a video."""
    if video.cuts:
        shown = ', '.join(map(str, video.cuts[:10])) + (', ...' if len(video.cuts) > 10 else '')
        print(f'{len(video.cuts)} scene cuts, at frame {shown}')
    if video.problems:
        first = min(video.problems)
        print(f'{len(video.problems)} problems, the first at frame {first}: {video.problems[first]}')


def run(model: VideoSegInferencer, sources: Sequence[str], args: argparse.Namespace) -> list[str]:
    """Segments the sources; returns a message for each that failed."""
    failures = []
    for source in sources:
        is_skipping = args.skip_finished or args.launcher != 'none'
        if is_skipping and is_finished(Path(args.out) / source_name(source), args.save):
            print(f'{source}: skipped, because its results are complete')
            continue
        try:
            segment(model, source, args)
        except (MMDVISError, OSError) as error:
            failures.append(f'{source}: {error}')
        except Exception as error:  # of the model or a library; the other sources go on
            LOGGER.debug('%s', source, exc_info=True)
            failures.append(f'{source}: {type(error).__name__}: {error}')
    return failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Segments the sources and prints the written paths.

    Returns:
        1 if a source failed; 128 plus the number of the signal after Ctrl-C, SIGTERM or SIGHUP. With a launcher,
        failures are only printed, because launchers stop all processes when one of them returns an error.
    """
    logging.basicConfig(format='%(message)s')
    args = parse_args(arguments)
    try:
        with exit_on_error(ValueError):
            check_numbers(args)
            sources = share_of_process(expand(args.sources), args)
            model = load_model(args)
        with signals_as_exceptions():
            failures = run(model, sources, args)
    except KeyboardInterrupt as error:
        print('interrupted; the results of finished sources are kept', file=sys.stderr)
        return 128 + getattr(error, 'number', signal.SIGINT)
    for failure in failures:
        print(f'error: {failure}', file=sys.stderr)
    return 1 if failures and args.launcher == 'none' else 0


def share_of_process(sources: list[str], args: argparse.Namespace) -> list[str]:
    """The sources of this process: with a launcher, process r of n takes the sources r, r + n, ...

    Raises:
        BadInputError: The launcher did not say which process this is.
    """
    rank, number, local = process_of(args.launcher)
    if args.launcher != 'none' and args.device == 'auto' and pick_device('auto', args.precision) == 'cuda':
        args.device = f'cuda:{local % torch.cuda.device_count()}'
    return sources[rank::number]


if __name__ == '__main__':
    sys.exit(main())
