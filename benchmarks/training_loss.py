"""Measures the loss of a training step against its reference implementation.

The reference implementation computes float32 masks of all queries in all layers at once. Sizes: R50, crops of
608 x 608, 20 objects, six layers, 256 channels, masks at stride 4, mask features of the frozen segmenter. Clips of 5
frames are those of the tracker (matched in the frame where an object first appears), clips of 21 frames those of the
refiner (matched over the whole video). Every measurement runs in a separate process and covers matching, losses and
gradients: the median time, and the peak memory above the memory before the step.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from prettytable import PrettyTable

from mmdvis.analysis.profile_inference import peak_memory, reset_peak_memory, run_in_subprocess
from mmdvis.models.functional.layer_predictions import LayerPredictions
from mmdvis.models.losses import QuerySetLoss
from mmdvis.structures import ClipTargets, StepContext
from mmdvis.testing.plain_loss import plain_loss

SIZE, OBJECTS, LAYERS, CLASSES, CHANNELS = 608, 20, 6, 124, 256
CPU = torch.device('cpu')


def parse_args() -> argparse.Namespace:
    """Parses the command line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, nargs='+', default=[5, 21])
    parser.add_argument('--queries', type=int, nargs='+', default=[100, 200])
    parser.add_argument('--size', type=int, default=SIZE)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--json', type=Path, help='JSON file to write the results to')
    parser.add_argument('--one', nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def clip(frames: int, size: int) -> ClipTargets:
    """Targets of a clip with moving rectangles."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(OBJECTS, frames, size, size, dtype=torch.bool)
    for k in range(OBJECTS):
        top, left, height, width = (torch.rand(4, generator=generator) * size / 2).int().tolist()
        for t in range(frames):
            masks[k, t, top + t : top + t + height + 8, left + t : left + t + width + 8] = True
    labels = torch.randint(CLASSES, (OBJECTS,), generator=generator)
    return ClipTargets(labels, torch.arange(1, OBJECTS + 1), masks, masks.flatten(2).any(-1), 'rectangles')


def step(frames: int, queries: int, size: int, repeats: int) -> dict[str, float]:
    """Measures median seconds and peak bytes of the loss and its gradients, after one warm-up run."""
    generator = torch.Generator().manual_seed(1)
    matching = 'first_appearance' if frames < 10 else 'video'
    embeds = torch.randn(LAYERS, 1, frames, queries, CHANNELS, generator=generator).requires_grad_()
    features = torch.randn(1, frames, CHANNELS, size // 4, size // 4, generator=generator).mul_(0.1)
    num_class_frames = 1 if matching == 'video' else frames
    logits = torch.randn(LAYERS, 1, num_class_frames, queries, CLASSES + 1, generator=generator).requires_grad_()
    target, loss = clip(frames, size), QuerySetLoss(CLASSES, matching=matching)
    predictions, seconds = LayerPredictions(logits, embeds, features), []
    for k in range(repeats + 1):
        if k == 1:
            baseline = reset_peak_memory(CPU)[0]
        embeds.grad = logits.grad = None
        start = time.perf_counter()
        losses = loss(predictions, [target], StepContext())
        sum(losses.values()).backward()
        seconds.append(time.perf_counter() - start)
    return dict(
        seconds=statistics.median(seconds[1:]),
        peak=peak_memory(CPU)[0] - baseline,
        loss=float(sum(losses.values()).detach()),
    )


def main() -> None:
    """Runs the benchmark."""
    args = parse_args()
    if args.one:
        implementation, frames, queries = args.one[0], int(args.one[1]), int(args.one[2])
        if implementation == 'plain':
            with plain_loss():
                print(json.dumps(step(frames, queries, args.size, args.repeats)))
        else:
            print(json.dumps(step(frames, queries, args.size, args.repeats)))
        return
    table = PrettyTable(['frames', 'queries', 'plain s', 'ours s', 'ratio', 'plain MB', 'ours MB', 'ratio '])
    results: list[dict[str, Any]] = []
    for frames in args.frames:
        for queries in args.queries:
            plain, ours = (
                run_in_subprocess('--one', implementation, frames, queries) for implementation in ('plain', 'ours')
            )
            results.append(dict(frames=frames, queries=queries, plain=plain, ours=ours))
            seconds, peaks = ([run[name] for run in (plain, ours)] for name in ('seconds', 'peak'))
            table.add_row(
                [
                    frames,
                    queries,
                    *(f'{x:.2f}' for x in seconds),
                    f'{seconds[1] / seconds[0]:.2f}',
                    *(f'{x / 2**20:.0f}' for x in peaks),
                    f'{peaks[1] / peaks[0]:.2f}',
                ]
            )
    print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
