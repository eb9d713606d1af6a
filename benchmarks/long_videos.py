"""What a frame more costs: memory of the process and frames a second of a short and of a long video.

Online: one process takes in the whole video; what it holds, and its peak, are read when as many frames have come as the short
and as the long video have, the peak over as many frames each. Offline: a process for each length and store. Frames of a
clip go round in a loop; weights are random, and a few rows become segments.
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

from mmdvis.analysis.profile_inference import (
    first_frames,
    force_segments,
    peak_memory,
    reset_peak_memory,
    run_in_subprocess,
)
from mmdvis.apis import OfflineVideo, VideoStream, optimize_for_inference
from mmdvis.apis.offline_video import memory_need
from mmdvis.io import ArrayFrames
from mmdvis.io.frame_views import FrameView
from mmdvis.registry import MODELS

CPU, WINDOW = torch.device('cpu'), 10


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config of a model with a refiner; online it goes without')
    parser.add_argument(
        '--modes', nargs='+', default=['online', 'disk', 'recompute'], choices=['online', 'memory', 'disk', 'recompute']
    )
    parser.add_argument('--frames', type=int, nargs=2, default=[200, 1000], metavar=('SHORT', 'LONG'))
    parser.add_argument('--size', type=int, default=360, help='short edge of the frames')
    parser.add_argument('--video', help='loop the first 20 frames of this video; else noise of 16 : 9')
    parser.add_argument('--precision', choices=['fp32', 'bf16'], default='bf16')
    parser.add_argument('--kept', type=int, default=10, help='rows that become segments')
    parser.add_argument('--json', type=Path, help='write the figures to this file')
    parser.add_argument('--one', nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


class LoopedFrames(FrameView):
    """The frames of a source over and over."""

    def __init__(self, source: ArrayFrames, length: int) -> None:
        super().__init__(source)
        self.length = length

    def __len__(self) -> int:
        return self.length

    def read(self, start: int, stop: int) -> Tensor:
        """Frames [start, stop) as uint8 (t, 3, H, W)."""
        return torch.cat([self.source.read(t % len(self.source), t % len(self.source) + 1) for t in range(start, stop)])


def online(stream: VideoStream, source: LoopedFrames, marks: list[int]) -> list[dict[str, float]]:
    """Bytes held, peak and frames/s at two numbers of frames, over as many frames before each as the first has halves."""
    found, seen = [], 0
    span = min(marks[0] // 2, marks[1] - marks[0])
    with tqdm(total=marks[-1], unit='frame', desc='online') as bar:

        def take(stop: int) -> None:
            nonlocal seen
            for start in range(seen, stop, WINDOW):
                stream.push(source.read(start, min(start + WINDOW, stop)))
                bar.update(min(WINDOW, stop - start))
            seen = max(seen, stop)

        for mark in marks:
            take(mark - span)
            reset_peak_memory(CPU)
            begun = time.perf_counter()
            take(mark)
            rate = span / (time.perf_counter() - begun)
            found.append(dict(frames=mark, peak=peak_memory(CPU)[0], held=reset_peak_memory(CPU)[0], rate=rate))
    return found


def offline(video: OfflineVideo, source: LoopedFrames) -> dict[str, float]:
    """Peak bytes over the model and frames/s of a whole video."""
    before, begun = reset_peak_memory(CPU)[0], time.perf_counter()
    for _ in tqdm(video.frames(source), total=len(source), unit='frame', desc=video.store):
        pass
    return dict(frames=len(source), peak=peak_memory(CPU)[0] - before, rate=len(source) / (time.perf_counter() - begun))


def run(args: argparse.Namespace, mode: str, frames: int) -> Any:
    """One process's work."""
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
    next(OfflineVideo(model, progress=False).frames(LoopedFrames(ArrayFrames(clip), 2)))  # warm
    return dict(offline(OfflineVideo(model, store=mode), source), formula=need.queries)


def main() -> None:
    """All modes; a row for each."""
    args = parse_args()
    if args.one:
        print(json.dumps(run(args, args.one[0], int(args.one[1]))))
        return
    rows, found = PrettyTable(['mode', 'frames', 'peak MB', 'frames/s', 'KB a frame', 'formula KB']), {}
    for mode in args.modes:
        pair = (
            run_in_subprocess('--one', mode, args.frames[1])
            if mode == 'online'
            else [run_in_subprocess('--one', mode, frames) for frames in args.frames]
        )
        slope = (pair[1]['peak'] - pair[0]['peak']) / (pair[1]['frames'] - pair[0]['frames'])
        found[mode] = dict(runs=pair, bytes_a_frame=slope)
        for result in pair:
            rows.add_row(
                [
                    mode,
                    result['frames'],
                    f'{result["peak"] / 2**20:.0f}',
                    f'{result["rate"]:.2f}',
                    f'{slope / 2**10:.1f}' if result is pair[1] else '',
                    f'{result.get("formula", 0) / 2**10:.1f}',
                ]
            )
        if mode == 'online':
            held = (pair[1]['held'] - pair[0]['held']) / (pair[1]['frames'] - pair[0]['frames'])
            rows.add_row(['online, between pushes', '', '', '', f'{held / 2**10:.1f}', '0.0'])
    print(rows)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == '__main__':
    main()
