"""Measures the speed of a stream whose model processes every n-th frame of a real video.

Weights are random, and ``--kept`` rows become segments. The first distance is the baseline.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from prettytable import PrettyTable

from mmdvis.analysis.profile_inference import first_frames, online_model
from mmdvis.apis import VideoStream
from mmdvis.inference import KeyframeStream
from mmdvis.io import ArrayFrames


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('config', help='config of a model; a refiner is removed')
    parser.add_argument('--video', help='video file; by default, random noise, in which every frame becomes a keyframe')
    parser.add_argument('--frames', type=int, default=24, help='number of frames')
    parser.add_argument('--size', type=int, default=360, help='short edge of the frames in pixels')
    parser.add_argument('--kept', type=int, default=25, help='number of segments in each frame')
    parser.add_argument('--keyframes', type=int, nargs='+', default=[1, 2, 4, 8], help='distances of the keyframes')
    parser.add_argument('--threads', type=int, help='number of threads of torch')
    parser.add_argument('--json', type=Path, help='file to write the results to')
    return parser.parse_args()


def main() -> None:
    """Runs the benchmark and prints a table."""
    args = parse_args()
    init_default_scope('mmdvis')
    if args.threads:
        torch.set_num_threads(args.threads)
    model = online_model(args.config, args.kept)
    source = ArrayFrames(first_frames(args.video, args.frames, args.size))
    table, rows = PrettyTable(['distance', 'processed', 'frames/s', 'latency of other frames, ms', 'speed-up']), []
    VideoStream(model).push(source.read(0, 1))  # warm-up
    for distance in args.keyframes:
        stream, seconds = KeyframeStream(VideoStream(model), distance), []
        for t in range(len(source)):
            image = source.read(t, t + 1)[0].permute(1, 2, 0).numpy()
            start = time.perf_counter()
            stream.step(image)
            seconds.append(time.perf_counter() - start)
        others = [x for t, x in enumerate(seconds) if t not in stream.processed]
        row = dict(distance=distance, processed=len(stream.processed), frames_per_second=len(seconds) / sum(seconds))
        row.update(other_ms=1e3 * sum(others) / len(others) if others else None)
        rows.append(row)
        ratio = row['frames_per_second'] / rows[0]['frames_per_second']
        latency = '' if row['other_ms'] is None else f'{row["other_ms"]:.0f}'
        table.add_row([distance, row['processed'], f'{row["frames_per_second"]:.2f}', latency, f'{ratio:.2f}'])
    print(table)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == '__main__':
    main()
