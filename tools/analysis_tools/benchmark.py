"""Measures time and memory of a model with random weights, by component, for inference or a training step."""

import argparse
import platform
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdvis.analysis.forced_segments import force_segments
from mmdvis.analysis.profile_inference import (
    Usage,
    first_frames,
    lower_bounds,
    measure_throughput,
    profile_inference,
    usage_table,
)
from mmdvis.analysis.profile_training import profile_training, training_batch, training_lower_bounds
from mmdvis.apis import optimize_for_inference
from mmdvis.cli.arguments import add_config_options
from mmdvis.inference.optimize_for_inference import OPTIMISED
from mmdvis.io import ArrayFrames, write_json
from mmdvis.models.detectors import DVIS
from mmdvis.registry import MODELS
from mmdvis.testing.plain_loss import plain_loss
from mmdvis.testing.plain_paths import plain_path


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--device', default='cpu', help='device to measure')
    parser.add_argument(
        '--frames', type=int, help='frames of the video or training clip; None: 20, or the clip length of the config'
    )
    parser.add_argument(
        '--size',
        type=int,
        help='short edge of the video frames, or size of the training crop, in pixels; None: 360, or 608 for training',
    )
    parser.add_argument('--video', help='video file to segment; None: random noise in 16:9')
    parser.add_argument('--kept', type=int, default=0, help='number of queries that become segments')
    parser.add_argument('--precision', choices=OPTIMISED, default='fp32', help='compute precision')
    parser.add_argument('--compile', action='store_true', help='compile parts of the model')
    parser.add_argument('--baseline', choices=['plain'], help='also measure the unoptimised reference path')
    parser.add_argument('--train', type=int, metavar='CLIPS', help='measure a training step with this batch size')
    parser.add_argument('--objects', type=int, default=20, help='objects per training clip')
    parser.add_argument('--threads', type=int, help='CPU threads of torch')
    add_config_options(parser)
    parser.add_argument('--json', type=Path, help='json file to write the measurements to')
    args = parser.parse_args()
    if args.train and args.precision == 'int8':
        parser.error('--precision int8 is for inference; use bf16 with --train')
    return args


@dataclass(frozen=True)
class Run:
    """Measured run.

    Attributes:
        work: Description of the run.
        size: (height, width) of the frames.
        frames: Number of frames.
        ours: Usage of the optimised model.
        plain: Usage of the reference path; None if it was not measured.
    """

    work: str
    size: tuple[int, int]
    frames: int
    ours: Usage
    plain: Usage | None


def predict(args: argparse.Namespace, config: Config) -> Run:
    """Measures the prediction of a video with an optimised model."""
    num_frames, short_edge, device, plain = args.frames or 20, args.size or 360, torch.device(args.device), None
    source = ArrayFrames(first_frames(args.video, num_frames, short_edge))
    with torch.no_grad():
        ours = profile_inference(
            optimize_for_inference(build(args, config).eval(), args.precision, args.compile), source, device
        )
        if args.baseline:
            model = build(args, config).eval().to(memory_format=torch.contiguous_format)
            with plain_path(model):
                plain = profile_inference(model, source, device)
    return Run(f'{num_frames} frames of {source.size[0]} x {source.size[1]}', source.size, num_frames, ours, plain)


def learn(args: argparse.Namespace, config: Config) -> Run:
    """Measures a training step."""
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
    """Builds a model with random weights, which are the same in every call."""
    torch.manual_seed(0)
    if args.kept:
        config.model.postprocessor.overlap_thr = 0.0
    model = MODELS.build(config.model).to(args.device)
    if args.kept:
        force_segments(model, args.kept)
    return model


def main() -> None:
    """Measures the throughput of the machine, the model and the baseline, and prints a table."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    init_default_scope('mmdvis')
    config, device = Config.fromfile(args.config), torch.device(args.device)
    config.merge_from_dict(args.cfg_options or {})
    machine = measure_throughput(device)
    run, unit = (learn(args, config), 'step') if args.train else (predict(args, config), 'frame')
    model = MODELS.build(config.model)
    lower_bound = lower_bounds(model, run.size, machine, args.precision)
    if args.train:
        lower_bound = training_lower_bounds(lower_bound, model, run.frames)
    print(
        f'{args.config}, {run.work}, {args.precision}, {platform.processor()}, {torch.get_num_threads()} threads, '
        f'torch {torch.__version__}, {date.today()}'
    )
    rates = ', '.join(f'{rate / 1e9:.0f} GFLOP/s {name}' for name, rate in machine.products.items())
    print(f'this machine: {rates}, {machine.gathered / 1e9:.1f} GB/s gathered')
    print(usage_table(run.ours, lower_bound, run.plain, unit))
    for name, usage in (('ours', run.ours), ('plain', run.plain)):
        if usage is not None:
            print(
                f'{name}: {1 / usage.seconds["all"]:.2f} {unit}s/s, {usage.host / 2**20:.0f} MB host and '
                f'{usage.device / 2**20:.0f} MB device memory in addition to the model'
            )
    if args.json:
        report = dict(vars(args), json=None, machine=asdict(machine), floor=lower_bound, **asdict(run))
        write_json(args.json, report, indent=1)


if __name__ == '__main__':
    main()
