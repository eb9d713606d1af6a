"""Measures a live stream whose results are written: memory held after each part of the stream, and shares of the time.

The frames of a clip are repeated as a stream without a known end. Weights are random, and ``--kept`` rows become
segments. Memory is that of the process, with free memory returned to the system. Shares are of a pass in one thread.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import init_default_scope
from torch import Tensor

from mmdvis.analysis.profile_inference import first_frames, online_model, reset_peak_memory
from mmdvis.apis import VideoStream, segment_video
from mmdvis.io import LiveFrames
from mmdvis.models.detectors import DVIS
from mmdvis.visualization import ResultVisualizer

CPU = torch.device('cpu')


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('config', help='config of a model; a refiner is removed')
    parser.add_argument('--frames', type=int, default=2000, help='length of the stream')
    parser.add_argument('--size', type=int, default=360, help='short edge of the frames in pixels')
    parser.add_argument('--video', help='video whose first 20 frames are repeated; by default, random noise')
    parser.add_argument('--kept', type=int, default=25, help='number of segments in each frame')
    parser.add_argument('--save', nargs='+', default=['video', 'json', 'csv', 'html'], help='what is written')
    parser.add_argument('--precision', choices=['fp32', 'bf16'], default='fp32', help='compute precision')
    parser.add_argument('--json', type=Path, help='file to write the results to')
    return parser.parse_args()


class RepeatedClip(LiveFrames):
    """A live source that repeats a clip, and notes the memory of the process at every tenth of its length.

    Args:
        clip: Frames (T, 3, H, W) uint8.
        length: Number of frames of the stream.
    """

    def __init__(self, clip: Tensor, length: int) -> None:
        self.clip, self.length = clip, length
        self.memory: dict[int, int] = {}
        super().__init__('clip')

    def decode(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yields time and pixels (H, W, 3) uint8 of the frames."""
        for t in range(self.length):
            if t and t % (self.length // 10) == 0:
                self.memory[t] = reset_peak_memory(CPU)[0]
            yield t / 30, self.clip[t % len(self.clip)].permute(1, 2, 0).numpy()


def shares(model: DVIS, clip: Tensor) -> dict[str, float]:
    """Seconds a frame of the model, the post-processing and the drawing."""
    stream, visualizer = VideoStream(model), ResultVisualizer(model.classes)
    stream.push(clip[:10])  # warm-up
    spent = dict(model=0.0, postprocessing=0.0, drawing=0.0)
    started = 0.0

    def begin(*args: object) -> None:
        nonlocal started
        started = time.perf_counter()

    handle = model.postprocessor.register_forward_pre_hook(begin)
    start = time.perf_counter()
    result = stream.push(clip[10:20])
    spent['model'] += started - start
    frames = [result.frame(t) for t in range(10)]
    spent['postprocessing'] += time.perf_counter() - started
    handle.remove()
    start = time.perf_counter()
    for frame, found in zip(clip[10:20], frames):
        visualizer.draw(frame.permute(1, 2, 0).numpy(), found)
    spent['drawing'] += time.perf_counter() - start
    return {name: seconds / 10 for name, seconds in spent.items()}


def main() -> None:
    """Runs the benchmark and prints the results."""
    args = parse_args()
    init_default_scope('mmdvis')
    model = online_model(args.config, args.kept, args.precision)
    clip = first_frames(args.video, 20, args.size)
    spent = shares(model, clip)
    source = RepeatedClip(clip, args.frames)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        written = segment_video(VideoStream(model), source, folder, save=args.save)
        sizes = {name: path.stat().st_size for name, path in written.items() if path.is_file()}
    seconds = (time.perf_counter() - begin) / args.frames
    marks = sorted(mark for mark in source.memory if mark >= args.frames // 5)
    slope = float(np.polyfit(marks, [source.memory[mark] for mark in marks], 1)[0])
    rest = (spent['postprocessing'] + spent['drawing']) / sum(spent.values())
    results = dict(seconds_per_frame=seconds, share_of_results=rest, **spent, slope=slope, memory=source.memory)
    print(json.dumps(dict(results, sizes=sizes), indent=1))
    print(f'memory: {slope / 1000:.2f} KB a frame; post-processing and drawing: {100 * rest:.1f} % of the time')
    if args.json:
        args.json.write_text(json.dumps(dict(results, sizes=sizes), indent=1))


if __name__ == '__main__':
    main()
