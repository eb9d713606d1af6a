"""Compares segmenters and their trackers: time per frame in interleaved rounds, parameters and multiply-adds.

Weights are random. Ratios are relative to the first config in the first precision. With several precisions, the names
in the JSON file are those of the configs followed by the precision.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from prettytable import PrettyTable

from mmdvis.analysis.flops import model_cost
from mmdvis.apis import optimize_for_inference
from mmdvis.inference.optimize_for_inference import OPTIMISED
from mmdvis.registry import MODELS


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('configs', nargs='+', help='configs of models; refiners are not timed')
    parser.add_argument('--shape', type=int, nargs=2, default=[360, 640], help='height and width of the frames')
    parser.add_argument(
        '--rounds', type=int, default=3, help='number of timed frames of each model; the models take turns'
    )
    parser.add_argument(
        '--precision', nargs='+', choices=OPTIMISED, default=['fp32'], help='each config is timed in each of these'
    )
    parser.add_argument('--threads', type=int, help='number of threads of torch')
    parser.add_argument('--device', default='cpu', help='device, e.g. cuda')
    parser.add_argument('--json', type=Path, help='file to write the results to')
    return parser.parse_args()


def main() -> None:
    """Runs the benchmark and prints a table."""
    args = parse_args()
    init_default_scope('mmdvis')
    if args.threads:
        torch.set_num_threads(args.threads)
    configs = {Path(path).stem: Config.fromfile(path).model for path in args.configs}
    models = {}
    for name, config in configs.items():
        config.segmenter.backbone.pop('init_cfg', None)
        for precision in args.precision:
            model = MODELS.build(config).eval().to(args.device)
            models[name, precision] = optimize_for_inference(model, precision)
    seconds = rounds(models, tuple(args.shape), args.rounds, torch.device(args.device))
    costs = {name: model_cost(MODELS.build(config), tuple(args.shape)) for name, config in configs.items()}
    table, results = PrettyTable(['config', 'precision', 'ms / frame', 'ratio', 'parameters', 'GMACs']), {}
    for (name, precision), times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times, next(iter(seconds.values()))))
        found = [cost for cost in costs[name] if cost.name != 'refiner']
        parameters, macs = sum(cost.parameters for cost in found), sum(cost.macs for cost in found)
        median = statistics.median(times)
        results[name if len(args.precision) == 1 else f'{name} {precision}'] = dict(
            seconds=median, ratio=ratio, parameters=parameters, macs=macs
        )
        table.add_row(
            [name, precision, f'{1e3 * median:.0f}', f'{ratio:.2f}', f'{parameters / 1e6:.1f} M', f'{macs / 1e9:.1f}']
        )
    print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


@torch.no_grad()
def rounds(
    models: dict, shape: tuple[int, int], number: int, device: torch.device
) -> dict[tuple[str, str], list[float]]:
    """Measures the seconds per frame of every model; the first round is a warm-up and not counted."""
    seconds: dict[tuple[str, str], list[float]] = {name: [] for name in models}
    states = dict.fromkeys(models)
    for turn in range(number + 1):
        image = torch.rand(1, 3, *shape, device=device) * 255
        for name, model in models.items():
            frames = model.data_preprocessor.normalise(image, model.data_preprocessor.padded(shape))
            start = time.perf_counter()
            _, states[name] = model.step(frames[None], states[name])
            if device.type == 'cuda':
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == '__main__':
    main()
