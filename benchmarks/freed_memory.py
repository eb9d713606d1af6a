"""Compares training steps that return freed memory to the operating system with steps that reuse it.

Clips are synthetic and weights random. Measurements alternate, each in its own process. The columns *user* and *system*
are the processor time of a step in the program and in the operating system.
"""

import argparse
import json
import resource
import statistics
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from prettytable import PrettyTable

from mmdvis.analysis.profile_inference import run_in_subprocess
from mmdvis.analysis.profile_training import profile_step, training_batch
from mmdvis.engine.freed_memory import keep_freed_memory
from mmdvis.io import write_json
from mmdvis.registry import MODELS

MODES = ('returned', 'kept')


def parse_args() -> argparse.Namespace:
    """Parses the command line arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('--clips', type=int, default=8, help='batch size (default: %(default)s)')
    parser.add_argument('--size', type=int, default=256, help='height and width in pixels (default: %(default)s)')
    parser.add_argument('--steps', type=int, default=4, help='measured steps of a process (default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=3, help='processes of each kind (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=1, help='number of threads (default: %(default)s)')
    parser.add_argument('--json', type=Path, help='JSON file to write the results to')
    parser.add_argument('--one', choices=MODES, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Measures the duration, processor time and page faults of a step, and the peak memory of the process in bytes."""
    torch.set_num_threads(args.threads)
    if args.one == 'kept' and not keep_freed_memory():
        raise SystemExit('memory cannot be kept: no glibc, or an environment variable tunes its allocation')
    init_default_scope('mmdvis')
    config = Config.fromfile(args.config)
    frames = config.train_dataloader.dataset.clip.num_frames
    model = MODELS.build(config.model).train()
    model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-4)
    batch = training_batch(args.clips, frames, args.size, 3, config.model.num_classes)
    for k in range(args.steps + 1):
        if k == 1:
            start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        profile_step(model, batch, 'fp32', optimizer, {})
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    return dict(
        seconds=seconds / args.steps,
        user=(after.ru_utime - before.ru_utime) / args.steps,
        system=(after.ru_stime - before.ru_stime) / args.steps,
        page_faults=(after.ru_minflt - before.ru_minflt) / args.steps,
        peak=1024 * after.ru_maxrss,
    )


def main() -> None:
    """Runs the benchmark."""
    args = parse_args()
    if args.one:
        print(json.dumps(measure(args)))
        return
    runs = [{mode: run_in_subprocess('--one', mode) for mode in MODES} for _ in range(args.repeats)]
    results = {
        mode: {name: statistics.median(run[mode][name] for run in runs) for name in runs[0][mode]} for mode in MODES
    }
    table = PrettyTable(['freed memory', 'seconds', 'user', 'system', 'page faults', 'peak memory, MB'])
    for mode, row in results.items():
        cells = [f'{row[name]:.2f}' for name in ('seconds', 'user', 'system')]
        table.add_row([mode, *cells, f'{row["page_faults"]:.0f}', f'{row["peak"] / 1e6:.0f}'])
    print(table)
    if args.json:
        write_json(args.json, results, indent=1)


if __name__ == '__main__':
    main()
