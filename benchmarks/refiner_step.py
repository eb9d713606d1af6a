"""Measures a training step of the refiner without the frozen segmenter and tracker: forward pass, loss and gradients.

Sizes: R50, crops of 608 x 608, 20 objects, 100 tracks, 124 classes. With ``--baseline``, another commit is measured in
the same run, in turns with the working tree. Every measurement runs in a separate process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from prettytable import PrettyTable

import mmdvis.models  # noqa: F401 (registers the refiner)
from mmdvis.analysis.commit_files import commit_files
from mmdvis.registry import MODELS
from mmdvis.structures import ClipTargets, StepContext, TrackQueries

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / 'configs/dvis/dvis-offline_r50_8xb1-t21-20k_vipseg-720p.py'
SIZE, OBJECTS, TRACKS, CHANNELS = 608, 20, 100, 256


def parse_args() -> argparse.Namespace:
    """Parses the command line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, nargs='+', default=[10, 21])
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2])
    parser.add_argument(
        '--repeats', type=int, default=3, help='number of measurements per commit (default: %(default)s)'
    )
    parser.add_argument('--baseline', metavar='COMMIT', help='commit to compare with')
    parser.add_argument('--json', type=Path, help='JSON file to write the results to')
    parser.add_argument('--one', nargs=2, type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def clip(frames: int) -> ClipTargets:
    """Targets of a clip with moving rectangles."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(OBJECTS, frames, SIZE, SIZE, dtype=torch.bool)
    for k in range(OBJECTS):
        top, left, height, width = (torch.rand(4, generator=generator) * SIZE / 2).int().tolist()
        for t in range(frames):
            masks[k, t, top + t : top + t + height + 8, left + t : left + t + width + 8] = True
    labels = torch.arange(OBJECTS)
    return ClipTargets(labels, torch.arange(1, OBJECTS + 1), masks, masks.flatten(2).any(-1), 'rectangles')


def tracks(frames: int, classes: int) -> TrackQueries:
    """Random outputs of a tracker for one clip."""
    generator = torch.Generator().manual_seed(1)
    per_track = [torch.randn(1, frames, TRACKS, n, generator=generator) for n in (CHANNELS, classes + 1, CHANNELS)]
    features = torch.randn(1, frames, CHANNELS, SIZE // 4, SIZE // 4, generator=generator).mul_(0.1)
    valid = torch.ones(1, frames, TRACKS, dtype=torch.bool)
    return TrackQueries(
        ids=torch.arange(TRACKS),
        valid=valid,
        embeds=per_track[0],
        class_logits=per_track[1],
        mask_embeds=per_track[2],
        mask_bias=torch.zeros(1, frames, TRACKS),
        mask_features=features,
        context=per_track[0],
    )


def step(frames: int, threads: int) -> dict[str, float]:
    """Runs two training steps and returns the seconds and the loss of the second."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    init_default_scope('mmdvis')
    config = Config.fromfile(CONFIG)
    refiner = MODELS.build(dict(config.model.refiner, num_classes=config.num_classes)).train()
    inputs, target = tracks(frames, config.num_classes), clip(frames)
    for _ in range(2):
        refiner.zero_grad()
        start = time.perf_counter()
        loss = sum(refiner.loss(inputs, [target], StepContext()).values())
        loss.backward()
        seconds = time.perf_counter() - start
    return dict(seconds=seconds, loss=float(loss.detach()))


def measured(checkout: Path, frames: int, threads: int) -> dict[str, float]:
    """Runs :func:`step` in a new process that imports mmdvis from ``checkout``."""
    command = [sys.executable, __file__, '--one', str(frames), str(threads)]
    environment = dict(os.environ, PYTHONPATH=str(checkout.resolve()))
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Runs the benchmark."""
    args = parse_args()
    if args.one:
        print(json.dumps(step(*args.one)))
        return
    table, results = PrettyTable(['frames', 'threads', 'seconds', 'baseline', 'speed-up', 'losses']), []
    with tempfile.TemporaryDirectory() as folder:
        checkouts = [ROOT, *([commit_files(ROOT, args.baseline, folder)] if args.baseline else [])]
        for frames in args.frames:
            for threads in args.threads:
                runs = [[measured(checkout, frames, threads) for checkout in checkouts] for _ in range(args.repeats)]
                seconds = [statistics.median(run[k]['seconds'] for run in runs) for k in range(len(checkouts))]
                ratio = statistics.median(run[-1]['seconds'] / run[0]['seconds'] for run in runs)
                losses = [round(result['loss'], 3) for result in runs[0]]
                results.append(dict(frames=frames, threads=threads, seconds=seconds, quicker=ratio, losses=losses))
                baseline = f'{seconds[1]:.2f}' if args.baseline else ''
                quicker = f'{ratio:.2f}' if args.baseline else ''
                table.add_row([frames, threads, f'{seconds[0]:.2f}', baseline, quicker, losses])
    print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
