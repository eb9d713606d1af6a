"""Times and memory of a config's model, by component, with random weights: a video's prediction, or a training step."""

import argparse
import json
import platform
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from mmdvis.analysis.profile_inference import (
    Usage,
    first_frames,
    force_segments,
    lower_bounds,
    measure_throughput,
    profile_inference,
    usage_table,
)
from mmdvis.analysis.profile_training import profile_training, training_batch, training_lower_bounds
from mmdvis.apis import optimize_for_inference
from mmdvis.io import ArrayFrames
from mmdvis.models.detectors import DVIS
from mmdvis.registry import MODELS
from mmdvis.testing.plain_loss import plain_loss
from mmdvis.testing.plain_paths import plain_path


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--frames', type=int, help='of the video (default 20), or of a training clip (default: as in the config)'
    )
    parser.add_argument(
        '--size', type=int, help='short edge of the frames (default 360), or edge of the crop (default 608)'
    )
    parser.add_argument('--video', help='take the first frames of this video; else noise of 16 : 9')
    parser.add_argument('--kept', type=int, default=0, help='rows that become segments; random weights show none')
    parser.add_argument('--precision', choices=['fp32', 'bf16', 'fp16'], default='fp32')
    parser.add_argument('--compile', action='store_true', help='torch.compile for the parts for which it pays')
    parser.add_argument(
        '--baseline', choices=['plain'], help='also run the plain path of mmdvis/testing/plain_paths.py'
    )
    parser.add_argument('--train', type=int, metavar='CLIPS', help='measure a training step on so many clips instead')
    parser.add_argument('--objects', type=int, default=20, help='of a training clip')
    parser.add_argument('--threads', type=int, help='of torch on the CPU')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides, as key=value')
    parser.add_argument('--json', type=Path, help='write the figures to this file')
    return parser.parse_args()


@dataclass(frozen=True)
class Run:
    """What was done, at what size, on how many frames, and what it took, ours and the plain way."""

    work: str
    size: tuple[int, int]
    frames: int
    ours: Usage
    plain: Usage | None


def predict(args: argparse.Namespace, config: Config) -> Run:
    """What the prediction of a video takes a frame; ours is tuned."""
    number, short, device, plain = args.frames or 20, args.size or 360, torch.device(args.device), None
    source = ArrayFrames(first_frames(args.video, number, short))
    with torch.no_grad():
        ours = profile_inference(
            optimize_for_inference(build(args, config).eval(), args.precision, args.compile), source, device
        )
        if args.baseline:
            model = build(args, config).eval().to(memory_format=torch.contiguous_format)
            with plain_path(model):
                plain = profile_inference(model, source, device)
    return Run(f'{number} frames of {source.size[0]} x {source.size[1]}', source.size, number, ours, plain)


def learn(args: argparse.Namespace, config: Config) -> Run:
    """What a training step takes."""
    clip, size, plain = config.get('train_dataloader', {}).get('dataset', {}).get('clip', {}), args.size or 608, None
    frames = args.frames or clip.get('num_frames', 1)
    batch = training_batch(args.train, frames, size, args.objects, config.model.num_classes)
    ours = profile_training(build(args, config).train(), batch, args.precision)
    if args.baseline:
        model = build(args, config).train().to(memory_format=torch.contiguous_format)
        with plain_path(model), plain_loss():
            plain = profile_training(model, batch, 'fp32')
    return Run(
        f'a step on {args.train} x {frames} frames of {size} x {size}', (size, size), args.train * frames, ours, plain
    )


def build(args: argparse.Namespace, config: Config) -> DVIS:
    """The model with weights that are random, but the same each time."""
    torch.manual_seed(0)
    if args.kept:
        config.model.postprocessor.overlap_thr = 0.0
    model = MODELS.build(config.model).to(args.device)
    if args.kept:
        force_segments(model, args.kept)
    return model


def main() -> None:
    """Measures the machine, the model, then the baseline; prints a table."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    init_default_scope('mmdvis')
    config, device = Config.fromfile(args.config), torch.device(args.device)
    config.merge_from_dict(args.cfg_options or {})
    machine = measure_throughput(device)
    run, unit = (learn(args, config), 'step') if args.train else (predict(args, config), 'frame')
    model = MODELS.build(config.model)
    floor = lower_bounds(model, run.size, machine, args.precision)
    if args.train:
        floor = training_lower_bounds(floor, model, run.frames)
    print(
        f'{args.config}, {run.work}, {args.precision}, {platform.processor()}, {torch.get_num_threads()} threads, '
        f'torch {torch.__version__}, {date.today()}'
    )
    print(
        f'this machine: {machine.products["fp32"] / 1e9:.0f} GFLOP/s fp32, {machine.products["bf16"] / 1e9:.0f} bf16, '
        f'{machine.gathered / 1e9:.1f} GB/s gathered'
    )
    print(usage_table(run.ours, floor, run.plain, unit))
    for name, took in (('ours', run.ours), ('plain', run.plain)):
        if took is not None:
            print(
                f'{name}: {1 / took.seconds["all"]:.2f} {unit}s/s, {took.host / 2**20:.0f} MB host and '
                f'{took.device / 2**20:.0f} MB device over the model'
            )
    if args.json:
        found = dict(vars(args), json=None, machine=asdict(machine), floor=floor, **asdict(run))
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == '__main__':
    main()
