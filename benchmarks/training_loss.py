"""What the loss of a training step costs, beside its plain form: all slots of all layers as float32 masks, in one call.

R50 sizes, crops of 608 x 608, 20 objects: six layers, 256 channels, masks at stride 4. Five frames are the tracker's clip
(matched where an object first appears), 21 the refiner's (matched as whole videos); mask features come from the frozen
segmenter. Every measurement is a process of its
own: time and peak memory of matching, losses and their gradients, over what was there before.
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
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, nargs='+', default=[5, 21])
    parser.add_argument('--queries', type=int, nargs='+', default=[100, 200])
    parser.add_argument('--size', type=int, default=SIZE)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--json', type=Path, help='write the figures to this file')
    parser.add_argument('--one', nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def clip(frames: int, size: int) -> ClipTargets:
    """Rectangles that wander."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(OBJECTS, frames, size, size, dtype=torch.bool)
    for k in range(OBJECTS):
        top, left, height, width = (torch.rand(4, generator=generator) * size / 2).int().tolist()
        for t in range(frames):
            masks[k, t, top + t : top + t + height + 8, left + t : left + t + width + 8] = True
    labels = torch.randint(CLASSES, (OBJECTS,), generator=generator)
    return ClipTargets(labels, torch.arange(1, OBJECTS + 1), masks, masks.flatten(2).any(-1), 'rectangles')


def step(frames: int, queries: int, size: int, repeats: int) -> dict[str, float]:
    """Median seconds of a loss and its gradients, and their peak bytes; a first one does not count."""
    generator = torch.Generator().manual_seed(1)
    matching = 'first_appearance' if frames < 10 else 'video'
    embeds = torch.randn(LAYERS, 1, frames, queries, CHANNELS, generator=generator).requires_grad_()
    features = torch.randn(1, frames, CHANNELS, size // 4, size // 4, generator=generator).mul_(0.1)
    spans = 1 if matching == 'video' else frames
    logits = torch.randn(LAYERS, 1, spans, queries, CLASSES + 1, generator=generator).requires_grad_()
    target, loss = clip(frames, size), QuerySetLoss(CLASSES, matching=matching)
    given, seconds = LayerPredictions(logits, embeds, features), []
    for k in range(repeats + 1):
        if k == 1:
            before = reset_peak_memory(CPU)[0]
        embeds.grad = logits.grad = None
        start = time.perf_counter()
        losses = loss(given, [target], StepContext())
        sum(losses.values()).backward()
        seconds.append(time.perf_counter() - start)
    return dict(
        seconds=statistics.median(seconds[1:]),
        peak=peak_memory(CPU)[0] - before,
        loss=float(sum(losses.values()).detach()),
    )


def main() -> None:
    """All sizes, both ways."""
    args = parse_args()
    if args.one:
        way, frames, queries = args.one[0], int(args.one[1]), int(args.one[2])
        if way == 'plain':
            with plain_loss():
                print(json.dumps(step(frames, queries, args.size, args.repeats)))
        else:
            print(json.dumps(step(frames, queries, args.size, args.repeats)))
        return
    rows = PrettyTable(['frames', 'queries', 'plain s', 'ours s', 'ratio', 'plain MB', 'ours MB', 'ratio '])
    found: list[dict[str, Any]] = []
    for frames in args.frames:
        for queries in args.queries:
            plain, ours = (run_in_subprocess('--one', way, frames, queries) for way in ('plain', 'ours'))
            found.append(dict(frames=frames, queries=queries, plain=plain, ours=ours))
            seconds, peaks = ([run[name] for run in (plain, ours)] for name in ('seconds', 'peak'))
            rows.add_row(
                [
                    frames,
                    queries,
                    *(f'{x:.2f}' for x in seconds),
                    f'{seconds[1] / seconds[0]:.2f}',
                    *(f'{x / 2**20:.0f}' for x in peaks),
                    f'{peaks[1] / peaks[0]:.2f}',
                ]
            )
    print(rows)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == '__main__':
    main()
