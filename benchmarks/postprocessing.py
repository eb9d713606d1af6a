"""Measures time per frame and peak memory of each postprocessor for different numbers of queries and kept queries.

Every measurement runs in a separate process, on random mask features and queries of one video.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from prettytable import PrettyTable
from torch import nn

from mmdvis.analysis.profile_inference import peak_memory, reset_peak_memory, run_in_subprocess
from mmdvis.models.postprocessors import InstancePostprocessor, PanopticPostprocessor, SemanticPostprocessor
from mmdvis.structures import FactoredMasks, FrameSize, VideoPrediction

CPU, CLASSES, CHANNELS = torch.device('cpu'), 124, 256
ROWS = dict(
    panoptic=[(100, 10, 8), (200, 10, 8), (400, 10, 8), (100, 20, 8), (100, 40, 8)],
    instance=[(100, 10, 8), (400, 10, 8), (100, 20, 8)],
    semantic=[(100, 100, 4), (100, 100, 8), (100, 100, 16)],
)


def parse_args() -> argparse.Namespace:
    """Parses the command line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, nargs=2, default=[720, 1280], metavar=('H', 'W'))
    parser.add_argument('--json', type=Path, help='JSON file to write the results to')
    parser.add_argument('--one', nargs=4, help=argparse.SUPPRESS)
    return parser.parse_args()


def prediction(queries: int, kept: int, frames: int, height: int, width: int) -> VideoPrediction:
    """Random prediction in which the first ``kept`` queries have a class with probability 1, all others no object."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.zeros(queries, CLASSES + 1)
    scores[kept:, -1] = 1.0
    scores[torch.arange(kept), torch.arange(kept) % CLASSES] = 1.0
    padded = tuple(-(-x // 32) * 32 for x in (height, width))
    features = torch.randn(frames, CHANNELS, padded[0] // 4, padded[1] // 4, generator=generator)
    masks = FactoredMasks(
        torch.randn(frames, queries, CHANNELS, generator=generator),
        torch.zeros(frames, queries),
        features,
        FrameSize(padded, (height, width), (height, width)),
    )
    return VideoPrediction(torch.arange(queries), scores, torch.ones(frames, queries, dtype=torch.bool), masks)


def postprocessor(task: str, kept: int) -> nn.Module:
    """Builds the postprocessor of a task."""
    if task == 'panoptic':
        return PanopticPostprocessor(58, 0.5, 0.0)
    return InstancePostprocessor(kept) if task == 'instance' else SemanticPostprocessor()


@torch.no_grad()
def run(task: str, queries: int, kept: int, frames: int, height: int, width: int) -> dict[str, float]:
    """Measures seconds per frame and peak bytes above the memory of the prediction."""
    module = postprocessor(task, kept)
    module(prediction(queries, kept, 1, 64, 96))  # warm-up
    video_prediction = prediction(queries, kept, frames, height, width)
    baseline, start = reset_peak_memory(CPU)[0], time.perf_counter()
    result = module(video_prediction)
    for index in range(frames):
        result.frame(index)
    return dict(seconds=(time.perf_counter() - start) / frames, peak=peak_memory(CPU)[0] - baseline)


def main() -> None:
    """Runs the benchmark."""
    args = parse_args()
    if args.one:
        task, *numbers = args.one
        print(json.dumps(run(task, *map(int, numbers), *args.size)))
        return
    table, results = PrettyTable(['task', 'queries', 'kept', 'frames', 'ms / frame', 'peak MB']), []
    for task, rows in ROWS.items():
        for numbers in rows:
            result = run_in_subprocess('--one', task, *numbers)
            results.append(dict(task=task, queries=numbers[0], kept=numbers[1], frames=numbers[2], **result))
            table.add_row([task, *numbers, f'{1e3 * result["seconds"]:.1f}', f'{result["peak"] / 2**20:.0f}'])
    print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
