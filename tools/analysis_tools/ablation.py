"""Trains and scores the rows of a study with several seeds, and compares them with its baseline.

The plan is a YAML file; see ``benchmarks/ablations`` for examples. Finished runs are not repeated, and interrupted ones
go on from their last checkpoint. After each run, ``results.json``, ``table.md`` and ``plot.png`` are written.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from mmengine.config import Config
from tqdm import tqdm

from mmdvis.analysis.ablation import Plan, read_plan, read_scores, run_folder, stretched, study_table, write_study
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.engine.work_folder import checkpoints_in
from mmdvis.errors import OptionError

ROOT = Path(__file__).resolve().parent.parent.parent


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('plan', type=Path, help='YAML file of the study')
    parser.add_argument('--work-dir', type=Path, help='output folder (default: work_dirs/ablations/<name of the plan>)')
    parser.add_argument('--rows', nargs='+', help='run only these rows')
    parser.add_argument('--seeds', type=int, nargs='+', help='run only these seeds')
    parser.add_argument('--jobs', type=int, default=1, help='number of runs at the same time (default: %(default)s)')
    parser.add_argument('--show', action='store_true', help='only print the table of the finished runs')
    return parser.parse_args()


def run_tool(command: list[str], log: Path) -> None:
    """Runs a tool of the repository; raises OptionError with the end of its log if it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'a') as file:
        code = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=file, stderr=file).returncode
    if code:
        tail = ' | '.join(log.read_text(errors='replace').strip().splitlines()[-2:])
        raise OptionError(f'{" ".join(command[:2])} failed: {tail}; see {log}')


def as_options(overrides: dict) -> list[str]:
    """Overrides of a config as arguments of ``--cfg-options``."""
    return [f'{name}={str(value).replace(" ", "")}' for name, value in overrides.items()]


def common_start(plan: Plan, folder: Path) -> str | None:
    """Checkpoint that all rows start from; trains its stage first if the plan names a config."""
    if plan.start is None or not plan.start.endswith('.py'):
        return plan.start and str(Path(plan.start).resolve())
    target = folder.resolve() / 'start'
    train = ['tools/train.py', str(Path(plan.start).resolve()), '--work-dir', str(target), '--resume']
    run_tool(train, target / 'log.txt')
    return str(checkpoints_in(target)[0])


def run(plan: Plan, name: str, seed: int, folder: Path, start: str | None) -> None:
    """Trains and scores one row with one seed, unless it is finished."""
    row, target = plan.rows[name], run_folder(folder.resolve(), name, seed)
    path = str(Path(row.config).resolve())
    metrics = target / 'metrics.json'
    if metrics.exists():
        return
    config = Config.fromfile(path)
    overrides = {**plan.options, **row.options, 'randomness.seed': seed}
    if row.iters is not None:
        overrides.update(stretched(config.param_scheduler, row.iters, config.train_cfg.max_iters))
    if start is not None:
        overrides['load_from'] = start
    options = ['--cfg-options', *as_options(overrides)]
    run_tool(['tools/train.py', path, '--work-dir', str(target), '--resume', *options], target / 'log.txt')
    checkpoint = str(checkpoints_in(target)[0])
    test = ['tools/test.py', path, checkpoint, '--work-dir', str(target), '--metrics', str(metrics)]
    run_tool([*test, *options], target / 'log.txt')


def main() -> None:
    """Runs the study."""
    args = parse_args()
    with exit_on_error():
        plan = read_plan(args.plan)
        folder = args.work_dir or Path('work_dirs/ablations') / args.plan.stem
        folder.mkdir(parents=True, exist_ok=True)
        wrong = sorted(set(args.rows or ()) - plan.rows.keys())
        if wrong:
            raise OptionError(f'{args.plan} has no row {wrong[0]}; it has {", ".join(plan.rows)}')
        jobs = [(name, seed) for seed in args.seeds or plan.seeds for name in args.rows or plan.rows]
        if not args.show:
            start = common_start(plan, folder)
            os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // args.jobs)))
            with ThreadPoolExecutor(args.jobs) as pool:
                futures = [pool.submit(run, plan, name, seed, folder, start) for name, seed in jobs]
                try:
                    for future in tqdm(as_completed(futures), total=len(jobs), unit='run'):
                        future.result()
                        write_study(plan, read_scores(plan, folder), folder)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        print(study_table(plan, read_scores(plan, folder)))


if __name__ == '__main__':
    main()
