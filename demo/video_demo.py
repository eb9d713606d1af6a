"""Segments a video and writes the segments of every frame with their classes and identities."""

import argparse
import sys

from mmdvis.apis import OfflineVideo, VideoStream, init_model, optimize_for_inference, segment_video
from mmdvis.cli.arguments import add_config_options, add_max_memory, add_trust, max_memory_of
from mmdvis.inference.optimize_for_inference import OPTIMISED
from mmdvis.io import PrefetchedFrames, open_frames
from mmdvis.models.detectors import DVIS


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('input', help='video file, or folder of frames (any image type, natural order)')
    parser.add_argument('config', help='config file; or a checkpoint of mmdvis, which contains its config')
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file; not needed if the previous argument is one')
    parser.add_argument('--out', required=True, help='folder for video.mp4, result.json, and panoptic/ or semantic/')
    parser.add_argument('--device', default='cpu', help='device of the model')
    parser.add_argument('--precision', choices=OPTIMISED, default='fp32', help='compute precision')
    parser.add_argument(
        '--compile',
        action='store_true',
        help='compile parts of the model, which delays the first frame by some seconds; seldom pays on a CPU',
    )
    parser.add_argument(
        '--short-edge', type=int, default=360, help='short edge of the frames that the model processes, in pixels'
    )
    parser.add_argument('--max-edge', type=int, default=1333, help='limit of the long edge in pixels')
    parser.add_argument(
        '--clip-len',
        type=int,
        default=10,
        help='frames per step; a refiner processes them together, or model.clip_len of them',
    )
    parser.add_argument('--offline', action='store_true', help='process the whole video before the first result')
    add_max_memory(parser)
    parser.add_argument(
        '--exact',
        action='store_true',
        help='reproduce the results of tools/test.py bit by bit; slower, not with --precision or --compile',
    )
    parser.add_argument(
        '--score-thr', type=float, help='minimum class probability of a segment; None: as in the config'
    )
    parser.add_argument('--fps', type=float, default=24.0, help='frames per second for folders of frames')
    add_trust(parser)
    add_config_options(parser)
    return parser.parse_args()


def build_model(args: argparse.Namespace) -> DVIS:
    """The model with the options of the command line."""
    options = dict(args.cfg_options or {})
    if args.score_thr is not None:
        options['model.postprocessor.score_thr'] = args.score_thr
    try:
        return init_model(args.config, args.checkpoint, args.device, options, args.trust)
    except TypeError as error:
        if args.score_thr is not None and 'score_thr' in str(error):
            raise ValueError('--score-thr applies to panoptic models only, and this model is not one') from None
        raise


def main() -> int:
    """Segments the video and prints the written paths; returns exit code 1 if the input is invalid."""
    args = parse_args()
    try:
        source = PrefetchedFrames(open_frames(args.input))
        model = build_model(args)
        if args.exact and (args.precision != 'fp32' or args.compile):
            raise ValueError(
                '--exact cannot be combined with --precision or --compile, which change the results; use one of them'
            )
        model = model if args.exact else optimize_for_inference(model, args.precision, args.compile)
        stream = VideoStream(model, args.short_edge, args.max_edge, args.clip_len)
        if args.offline:
            limit = max_memory_of(args)
            store = 'exact' if args.exact else None
            stream = OfflineVideo(model, args.short_edge, args.max_edge, limit, store=store)
        written = segment_video(stream, source, args.out, args.fps)
    except (ValueError, KeyError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    for path in written.values():
        print(path)
    return 0


if __name__ == '__main__':
    sys.exit(main())
