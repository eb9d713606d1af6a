"""Measures an exported model beside PyTorch: time per frame of a stream, and the share of equal pixels.

Weights are random, and ``--kept`` rows become segments.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from prettytable import PrettyTable

from mmdvis.analysis.forced_segments import force_segments
from mmdvis.analysis.profile_inference import first_frames, online_model
from mmdvis.apis import VideoStream, optimize_for_inference
from mmdvis.inference import export_model, load_exported


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('config', help='config of a model; a refiner is removed')
    parser.add_argument('--video', help='video file; by default, random noise')
    parser.add_argument('--frames', type=int, default=8, help='number of frames')
    parser.add_argument('--size', type=int, default=360, help='short edge of the frames in pixels')
    parser.add_argument('--kept', type=int, default=10, help='number of segments in each frame')
    parser.add_argument('--formats', nargs='+', default=['onnx', 'openvino'], help='formats to export to')
    parser.add_argument('--threads', type=int, help='number of threads of torch')
    parser.add_argument('--json', type=Path, help='file to write the results to')
    return parser.parse_args()


def main() -> None:
    """Runs the benchmark and prints a table."""
    args = parse_args()
    init_default_scope('mmdvis')
    if args.threads:
        torch.set_num_threads(args.threads)
    model = online_model(args.config, args.kept, precision=None)
    frames, results, maps = first_frames(args.video, args.frames, args.size), {}, None
    table = PrettyTable(['runtime', 'export, s', 'ms / frame', 'ratio', 'equal pixels'])
    for name in ('torch', *args.formats):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            if name == 'torch':
                runtime = optimize_for_inference(model)
            else:
                runtime = load_exported(export_model(model, folder, tuple(frames.shape[-2:]), name))
                force_segments(runtime, args.kept)
            prepared = time.perf_counter() - start
            VideoStream(runtime).push(frames[:2])  # warm-up
            start = time.perf_counter()
            found = VideoStream(runtime).push(frames).id_map
            seconds = (time.perf_counter() - start) / len(frames)
        maps = found if maps is None else maps
        results[name] = dict(seconds=seconds, export=prepared, equal=float((found == maps).float().mean()))
        ratio = seconds / results['torch']['seconds']
        table.add_row(
            [name, f'{prepared:.0f}', f'{1e3 * seconds:.0f}', f'{ratio:.2f}', f'{results[name]["equal"]:.6f}']
        )
    print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
