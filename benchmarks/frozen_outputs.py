"""Measures a training step with and without a cache of the outputs of frozen stages, on the same batches.

The batches are loaded once and used twice, so that all of their frames are in the cache; losses of both must be equal
up to rounding. ``TOY_DATA`` names the folder of the videos (``tools/dataset_converters/make_toy_videos.py``).
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from prettytable import PrettyTable

from mmdvis.io import TensorCache
from mmdvis.registry import MODELS


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        'configs',
        nargs='*',
        default=['configs/toy/dvis-online_r18_1xb4-t10_toy.py', 'configs/toy/dvis-offline_r18_1xb3-t20_toy.py'],
        help='configs of a tracker or refiner',
    )
    parser.add_argument('--steps', type=int, default=6, help='number of batches')
    parser.add_argument('--threads', type=int, default=1, help='number of threads')
    parser.add_argument('--json', type=Path, help='file to write the results to')
    return parser.parse_args()


def batches_of(config: Config, number: int) -> list[dict]:
    """The first batches of a training set."""
    settings = config.train_dataloader
    settings.update(num_workers=0, persistent_workers=False)
    settings.pop('prefetch_factor', None)
    loader = iter(Runner.build_dataloader(settings, seed=0))
    return [next(loader) for _ in range(number)]


def measure(model: torch.nn.Module, batches: list[dict], cache: TensorCache | None) -> tuple[float, list[float]]:
    """Seconds per step (loss and gradients), and the sum of the losses of each step."""
    MessageHub.get_current_instance().update_info('frozen_cache', cache, resumed=False)
    totals, start = [], time.perf_counter()
    for batch in batches:
        torch.manual_seed(0)
        data = model.data_preprocessor(batch, True)
        losses = model(**data, mode='loss')
        total = sum(value for name, value in losses.items() if 'loss' in name)
        total.backward()
        model.zero_grad()
        totals.append(float(total.detach()))
    return (time.perf_counter() - start) / len(batches), totals


def main() -> None:
    """Runs the benchmark and prints a table."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    init_default_scope('mmdvis')
    table, results = (
        PrettyTable(['config', 'ms / step', 'with the cache', 'ratio', 'MB on disk', 'difference of losses']),
        {},
    )
    for path in args.configs:
        config = Config.fromfile(path)
        torch.manual_seed(0)
        model, batches = MODELS.build(config.model).train(), batches_of(config, args.steps)
        with tempfile.TemporaryDirectory() as folder:
            cache = TensorCache(folder)
            measure(model, batches, cache)  # fills the cache
            size = sum(file.stat().st_size for file in Path(folder).rglob('*.safetensors'))
            cached, found = measure(model, batches, cache)
            plain, expected = measure(model, batches, None)
        difference = max(abs(a - b) / abs(b) for a, b in zip(found, expected))
        results[Path(path).stem] = dict(plain=plain, cached=cached, bytes=size, difference=difference)
        cells = [f'{1e3 * plain:.0f}', f'{1e3 * cached:.0f}', f'{cached / plain:.2f}', f'{size / 2**20:.0f}']
        table.add_row([Path(path).stem, *cells, f'{difference:.1e}'])
    print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == '__main__':
    main()
