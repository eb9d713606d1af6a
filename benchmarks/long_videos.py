"""Measures memory and speed on a short and on a long video, and the memory added by each additional frame.

Online: one process reads the whole video. Its memory and its peak are measured after as many frames as the short and
the long video have; both peaks cover the same number of frames. Offline: each video length and feature store is
measured in a separate process. The frames of a clip are repeated, weights are random, and a few rows become segments.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from prettytable import PrettyTable
from torch import Tensor
from tqdm import tqdm

from mmdvis.analysis.forced_segments import force_segments
from mmdvis.analysis.profile_inference import first_frames, peak_memory, reset_peak_memory, run_in_subprocess
from mmdvis.apis import OfflineVideo, VideoStream, optimize_for_inference
from mmdvis.inference.offline_video import memory_need
from mmdvis.io import ArrayFrames
from mmdvis.io.frame_views import FrameView
from mmdvis.registry import MODELS

CPU, WINDOW = torch.device('cpu'), 10


def parse_args() -> argparse.Namespace:
    """Parses the command line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a model with a refiner, which the mode online removes')
    parser.add_argument(
        '--modes', nargs='+', default=['online', 'disk', 'recompute'], choices=['online', 'memory', 'disk', 'recompute']
    )
    parser.add_argument('--frames', type=int, nargs=2, default=[200, 1000], metavar=('SHORT', 'LONG'))
    parser.add_argument(
        '--size', type=int, default=360, help='short edge of the frames in pixels (default: %(default)s)'
    )
    parser.add_argument('--video', help='video whose first 20 frames are repeated; 16:9 noise by default')
    parser.add_argument('--precision', choices=['fp32', 'bf16'], default='bf16')
    parser.add_argument(
        '--kept', type=int, default=10, help='number of rows that become segments (default: %(default)s)'
    )
    parser.add_argument('--json', type=Path, help='JSON file to write the results to')
    parser.add_argument('--one', nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


class LoopedFrames(FrameView):
    """Frame source that repeats the frames of another source up to a given length."""

    def __init__(self, source: ArrayFrames, length: int) -> None:
        super().__init__(source)
        self.length = length

    def __len__(self) -> int:
        return self.length

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        return torch.cat([self.source.read(t % len(self.source), t % len(self.source) + 1) for t in range(start, stop)])


def online(stream: VideoStream, source: LoopedFrames, marks: list[int]) -> list[dict[str, float]]:
    """Measures a stream at two positions of the video.

    Args:
        stream: Stream to measure.
        source: Video to push.
        marks: Two numbers of frames. The peak and the speed cover an equal number of frames before each of them.

    Returns:
        For each mark: number of frames, peak bytes, bytes in use and frames per second.
    """
    results, seen = [], 0
    num_frames = min(marks[0] // 2, marks[1] - marks[0])
    with tqdm(total=marks[-1], unit='frame', desc='online') as bar:

        def take(stop: int) -> None:
            nonlocal seen
            for start in range(seen, stop, WINDOW):
                stream.push(source.read(start, min(start + WINDOW, stop)))
                bar.update(min(WINDOW, stop - start))
            seen = max(seen, stop)

        for mark in marks:
            take(mark - num_frames)
            reset_peak_memory(CPU)
            begin = time.perf_counter()
            take(mark)
            rate = num_frames / (time.perf_counter() - begin)
            results.append(dict(frames=mark, peak=peak_memory(CPU)[0], held=reset_peak_memory(CPU)[0], rate=rate))
    return results


def offline(video: OfflineVideo, source: LoopedFrames) -> dict[str, float]:
    """Measures peak bytes above the memory of the model and frames per second of offline inference."""
    baseline, begin = reset_peak_memory(CPU)[0], time.perf_counter()
    for _ in tqdm(video.frames(source), total=len(source), unit='frame', desc=video.store):
        pass
    return dict(
        frames=len(source), peak=peak_memory(CPU)[0] - baseline, rate=len(source) / (time.perf_counter() - begin)
    )


def run(args: argparse.Namespace, mode: str, frames: int) -> Any:
    """Runs the measurement of one process."""
    init_default_scope('mmdvis')
    config = Config.fromfile(args.config)
    if mode == 'online':
        config.model.refiner = None
    torch.manual_seed(0)
    config.model.postprocessor.overlap_thr = 0.0
    model = optimize_for_inference(MODELS.build(config.model).eval(), args.precision)
    force_segments(model, args.kept)
    clip = first_frames(args.video, 20, args.size)
    source = LoopedFrames(ArrayFrames(clip), frames)
    if mode == 'online':
        return online(VideoStream(model), source, args.frames)
    need = memory_need(model, source)
    next(OfflineVideo(model, progress=False).frames(LoopedFrames(ArrayFrames(clip), 2)))  # warm-up
    return dict(offline(OfflineVideo(model, store=mode), source), formula=need.queries)


def main() -> None:
    """Runs the benchmark for all modes."""
    args = parse_args()
    if args.one:
        print(json.dumps(run(args, args.one[0], int(args.one[1]))))
        return
    table, results = PrettyTable(['mode', 'frames', 'peak MB', 'frames/s', 'KB / frame', 'estimated KB / frame']), {}
    for mode in args.modes:
        runs = (
            run_in_subprocess('--one', mode, args.frames[1])
            if mode == 'online'
            else [run_in_subprocess('--one', mode, frames) for frames in args.frames]
        )
        slope = (runs[1]['peak'] - runs[0]['peak']) / (runs[1]['frames'] - runs[0]['frames'])
        results[mode] = dict(runs=runs, bytes_a_frame=slope)
        for result in runs:
            table.add_row(
                [
                    mode,
                    result['frames'],
                    f'{result["peak"] / 2**20:.0f}',
                    f'{result["rate"]:.2f}',
                    f'{slope / 2**10:.1f}' if result is runs[1] else '',
                    f'{result.get("formula", 0) / 2**10:.1f}',
                ]
            )
        if mode == 'online':
            held = (runs[1]['held'] - runs[0]['held']) / (runs[1]['frames'] - runs[0]['frames'])
            table.add_row(['online, between pushes', '', '', '', f'{held / 2**10:.1f}', '0.0'])
    print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
