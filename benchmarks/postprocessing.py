"""Measures time per frame and peak memory of each postprocessor for different numbers of queries and kept queries.

The masks are ellipses of random size and place, like those of a trained model, or noise. The first baseline computes
the masks of whole frames, the second one also finds the winner of a pixel with argmax (panoptic). Every measurement
runs in a separate process.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from prettytable import PrettyTable
from torch import Tensor, nn

from mmdvis.analysis.forced_segments import ellipses
from mmdvis.analysis.profile_inference import peak_memory, reset_peak_memory, run_in_subprocess
from mmdvis.models.postprocessors import InstancePostprocessor, PanopticPostprocessor, SemanticPostprocessor
from mmdvis.structures import FactoredMasks, FrameSize, VideoPrediction

CPU, CLASSES, CHANNELS = torch.device('cpu'), 124, 256
ROWS = dict(
    panoptic=[(100, 10, 8), (400, 10, 8), (100, 25, 8), (100, 50, 8)],
    instance=[(100, 10, 8), (400, 10, 8), (100, 50, 8)],
    semantic=[(100, 100, 4), (100, 100, 8)],
)


def parse_args() -> argparse.Namespace:
    """Parses the command line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, nargs=2, default=[720, 1280], metavar=('H', 'W'))
    parser.add_argument('--json', type=Path, help='JSON file to write the results to')
    parser.add_argument('--masks', choices=['objects', 'noise'], default='objects', help='kind of masks')
    parser.add_argument('--precision', choices=['fp32', 'bf16'], default='fp32', help='type of features and queries')
    parser.add_argument('--one', nargs=5, help=argparse.SUPPRESS)
    return parser.parse_args()


@dataclass(frozen=True, eq=False)
class WholeFrames:
    """Masks of whole frames, the baseline.

    Attributes:
        masks: The masks.
    """

    masks: FactoredMasks

    def logits(self, rows: Tensor, frame: int) -> Tensor:
        """Mask logits (len(rows), H, W)."""
        return self.masks.logits(rows, frame)

    def probs(self, rows: Tensor, frame: int) -> Tensor:
        """Mask probabilities (len(rows), H, W)."""
        return self.masks.probs(rows, frame)


def prediction(
    args: argparse.Namespace, queries: int, kept: int, frames: int, size: tuple[int, int]
) -> VideoPrediction:
    """Random prediction in which the first ``kept`` queries have a class with probability 1, all others no object."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.zeros(queries, CLASSES + 1)
    scores[kept:, -1] = 1.0
    scores[torch.arange(kept), torch.arange(kept) % CLASSES] = 1.0
    padded = tuple(-(-x // 32) * 32 for x in size)
    cells = padded[0] // 4, padded[1] // 4
    embeds = torch.randn(frames, queries, CHANNELS, generator=generator)
    features = torch.randn(frames, CHANNELS, *cells, generator=generator)
    if args.masks == 'objects':  # feature k is the mask of query k
        embeds, features = torch.zeros_like(embeds), features * 0
        shown = min(kept, CHANNELS)
        embeds[:, torch.arange(shown), torch.arange(shown)] = 1
        features[:, :shown] = ellipses(shown, *cells, generator)
    if args.precision == 'bf16':
        embeds, features = embeds.bfloat16(), features.bfloat16()
    masks = FactoredMasks(embeds, torch.zeros(frames, queries), features, FrameSize(padded, size, size))
    return VideoPrediction(torch.arange(queries), scores, torch.ones(frames, queries, dtype=torch.bool), masks)


def postprocessor(task: str, kept: int) -> nn.Module:
    """Builds the postprocessor of a task."""
    if task == 'panoptic':
        return PanopticPostprocessor(58, 0.5, 0.0)
    return InstancePostprocessor(kept) if task == 'instance' else SemanticPostprocessor()


def argmax_maps(video: VideoPrediction, kept: int) -> None:
    """The winner of every pixel, and the areas that panoptic fusion compares, with operators on whole frames."""
    rows = torch.arange(kept)
    for frame in range(video.num_frames):
        probs = video.probs_of(rows)(frame)
        won = (video.scores[rows].amax(1)[:, None, None] * probs).argmax(0)
        inside = probs >= 0.5
        assigned = won.where(inside.gather(0, won[None])[0], kept)
        for winners, number in ((won, kept), (assigned, kept + 1)):
            torch.bincount(winners.flatten(), minlength=number)
        inside.flatten(1).sum(1)


@torch.no_grad()
def run(args: argparse.Namespace, task: str, queries: int, kept: int, frames: int, way: str) -> dict[str, float]:
    """Measures seconds per frame and peak bytes above the memory of the prediction.

    Args:
        args: Options of the command line.
        task: Key of ``ROWS``.
        queries: Number of queries.
        kept: Number of queries that become segments.
        frames: Number of frames.
        way: ``'tiles'``, ``'whole'`` or ``'argmax'``.
    """
    module = postprocessor(task, kept)
    module(prediction(args, queries, kept, 1, (64, 96)))  # warm-up
    video = prediction(args, queries, kept, frames, tuple(args.size))
    if way != 'tiles':
        video = replace(video, masks=WholeFrames(video.masks))
    baseline, start = reset_peak_memory(CPU)[0], time.perf_counter()
    if way == 'argmax':
        argmax_maps(video, kept)
    else:
        module(video)
    return dict(seconds=(time.perf_counter() - start) / frames, peak=peak_memory(CPU)[0] - baseline)


def main() -> None:
    """Runs the benchmark."""
    args = parse_args()
    if args.one:
        task, *numbers, way = args.one
        print(json.dumps(run(args, task, *map(int, numbers), way)))
        return
    table, results = PrettyTable(['task', 'queries', 'kept', 'frames', 'ms', 'whole', 'argmax', 'MB', 'whole, MB']), []
    words = ['--size', *args.size, '--masks', args.masks, '--precision', args.precision, '--one']
    for task, rows in ROWS.items():
        for numbers in rows:
            ways = ('tiles', 'whole', 'argmax') if task == 'panoptic' else ('tiles', 'whole')
            found = {way: run_in_subprocess(*words, task, *numbers, way) for way in ways}
            results.append(dict(task=task, queries=numbers[0], kept=numbers[1], frames=numbers[2], **found))
            times = {way: 1e3 * result['seconds'] for way, result in found.items()}
            ratios = [f'{t:.1f} ({times["tiles"] / t:.2f})' for way, t in times.items() if way != 'tiles']
            memory = [f'{found[way]["peak"] / 2**20:.0f}' for way in ('tiles', 'whole')]
            table.add_row([task, *numbers, f'{times["tiles"]:.1f}', *ratios, *[''] * (2 - len(ratios)), *memory])
    print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
