"""Times and memory of a config's model on one video, by component, with random weights."""
import argparse
import json
import platform
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

import mmdvis.models  # noqa: F401  registers what configs name
from mmdvis.apis import tune
from mmdvis.apis.benchmark import floors, measure_machine, random_video, table, usage
from mmdvis.registry import MODELS
from mmdvis.structures import ArrayFrames, ResizedFrames, VideoFileFrames

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / 'benchmarks'))


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--frames', type=int, default=20)
    parser.add_argument('--size', type=int, default=360, help='short edge of the frames')
    parser.add_argument('--video', help='take the first frames of this video; else noise of 16 : 9')
    parser.add_argument('--precision', choices=['fp32', 'bf16', 'fp16'], default='fp32')
    parser.add_argument('--baseline', choices=['plain'], help='also run the plain path of benchmarks/plain.py')
    parser.add_argument('--threads', type=int, help='of torch on the CPU')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides, as key=value')
    parser.add_argument('--json', type=Path, help='write the figures to this file')
    return parser.parse_args()


def main() -> None:
    """Measures the machine, the baseline, then the model; prints a table."""
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    init_default_scope('mmdvis')
    config, device = Config.fromfile(args.config), torch.device(args.device)
    config.merge_from_dict(args.cfg_options or {})
    machine = measure_machine(device)
    frames = random_video(args.frames, (args.size, round(args.size * 16 / 9)))
    if args.video:
        frames = ResizedFrames(VideoFileFrames(args.video), args.size).read(0, args.frames)
    source, baseline = ArrayFrames(frames), None
    torch.manual_seed(0)
    model = MODELS.build(config.model).to(device).eval()
    with torch.no_grad():
        if args.baseline:
            from plain import plain_path
            with plain_path(model):
                baseline = usage(model, source, device)
        found = usage(tune(model, args.precision), source, device)
    floor = floors(MODELS.build(config.model), source.size, machine, args.precision)
    print(f'{args.config}, {args.frames} frames of {source.size[0]} x {source.size[1]}, {args.precision}, '
          f'{platform.processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {date.today()}')
    print(f"this machine: {machine.products['fp32'] / 1e9:.0f} GFLOP/s fp32, {machine.products['bf16'] / 1e9:.0f} bf16, "
          f'{machine.gathered / 1e9:.1f} GB/s gathered')
    print(table(found, floor, baseline))
    for name, run in (('ours', found), ('plain', baseline)):
        if run is not None:
            print(f'{name}: {1 / run.seconds["all"]:.2f} frames/s, {run.host / 2**20:.0f} MB host and '
                  f'{run.device / 2**20:.0f} MB device over the model')
    if args.json:
        args.json.write_text(json.dumps(dict(
            vars(args), json=None, size=source.size, machine=asdict(machine), floor=floor, ours=asdict(found),
            plain=baseline and asdict(baseline)), indent=1))


if __name__ == '__main__':
    main()
