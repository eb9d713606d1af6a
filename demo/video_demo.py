"""Segments a video: every frame, every object and every region, labelled and with an identity that lasts."""

import argparse
import sys

from mmengine.config import DictAction

from mmdvis.apis import OfflineVideo, VideoStream, init_model, optimize_for_inference, segment_video
from mmdvis.io import PrefetchedFrames, open_frames


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('input', help='video file, or folder of frames (any image type, natural order)')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out', required=True, help='folder for video.mp4, panoptic/*.png and result.json')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--precision', choices=['fp32', 'bf16', 'fp16'], default='fp32', help='of products')
    parser.add_argument(
        '--compile', action='store_true', help='compile what gains by it, which takes some seconds at the start'
    )
    parser.add_argument('--short-edge', type=int, default=360, help='short edge in pixels that the model sees')
    parser.add_argument('--max-edge', type=int, default=1333, help='limit of the long edge')
    parser.add_argument(
        '--clip-len',
        type=int,
        default=10,
        help='frames of one step; a refiner sees them together, or model.clip_len of them',
    )
    parser.add_argument('--offline', action='store_true', help='see the whole video before the first result')
    parser.add_argument(
        '--max-memory',
        type=float,
        metavar='GB',
        help='what an offline video may add to the memory; decides where its features are kept',
    )
    parser.add_argument(
        '--exact',
        action='store_true',
        help='the numbers of tools/test.py to the bit: layers as trained, features kept as computed; slower',
    )
    parser.add_argument('--score-thr', type=float, help='least class probability of a segment')
    parser.add_argument('--fps', type=float, default=24.0, help='frame rate for folders of frames')
    parser.add_argument('--trust', action='store_true', help='load the checkpoint without guarding against code in it')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides, as key=value')
    return parser.parse_args()


def main() -> int:
    """Runs; returns the exit code."""
    args = parse_args()
    options = dict(args.cfg_options or {})
    if args.score_thr is not None:
        options['model.postprocessor.score_thr'] = args.score_thr
    try:
        source = PrefetchedFrames(open_frames(args.input))
        model = init_model(args.config, args.checkpoint, args.device, options, args.trust)
        if args.exact and (args.precision != 'fp32' or args.compile):
            raise ValueError(
                '--exact was given with --precision or --compile, which change the numbers; give one of them'
            )
        model = model if args.exact else optimize_for_inference(model, args.precision, args.compile)
        stream = VideoStream(model, args.short_edge, args.max_edge, args.clip_len)
        if args.offline:
            limit = None if args.max_memory is None else int(args.max_memory * 2**30)
            stream = OfflineVideo(
                model, args.short_edge, args.max_edge, limit, **({'store': 'exact'} if args.exact else {})
            )
        written = segment_video(stream, source, args.out, args.fps)
    except (ValueError, KeyError, OSError, TypeError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    for path in written.values():
        print(path)
    return 0


if __name__ == '__main__':
    sys.exit(main())
