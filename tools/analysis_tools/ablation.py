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

from mmdvis.analysis.ablation import Plan, read_plan, read_scores, run_folder, study_table, write_study
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.engine.launch import set_iterations
from mmdvis.engine.work_folder import checkpoints_in
from mmdvis.errors import OptionError

ROOT = Path(__file__).resolve().parent.parent.parent


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('plan', type=Path, help='YAML file of the study')
    parser.add_argument('--work-dir', type=Path, help='output folder (default: work_dirs/ablations/<name of the plan>)')
    parser.add_argument(
        '--start-dir',
        type=Path,
        default=Path('work_dirs/ablations/start'),
        help='folder of the stages that studies start from, which are trained once (default: %(default)s)',
    )
    parser.add_argument('--rows', nargs='+', help='run only these rows')
    parser.add_argument('--seeds', type=int, nargs='+', help='run only these seeds')
    parser.add_argument('--jobs', type=int, default=1, help='number of runs at the same time (default: %(default)s)')
    parser.add_argument('--show', action='store_true', help='only print the table of the finished runs')
    return parser.parse_args()


class Runs:
    """Runs tools of the repository in processes that end with this one.

    Attributes:
        processes: The processes that are running.
    """

    def __init__(self) -> None:
        self.processes: set[subprocess.Popen] = set()

    def __call__(self, command: list[str], log: Path) -> None:
        """Runs a tool; raises OptionError with the end of its log if it fails."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, 'a') as file:
            process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=file, stderr=file)
            self.processes.add(process)
            code = process.wait()
            self.processes.discard(process)
        if code:
            tail = ' | '.join(log.read_text(errors='replace').strip().splitlines()[-2:])
            raise OptionError(f'{" ".join(command[:2])} failed: {tail}; see {log}')

    def stop(self) -> None:
        """Ends the running processes."""
        for process in list(self.processes):
            process.terminate()


def write_once(path: Path, text: str) -> None:
    """Writes the settings of a run, or checks that they are those of an earlier one.

    Raises:
        OptionError: The folder has a run with other settings.
    """
    if path.exists() and path.read_text() != text:
        raise OptionError(
            f'{path.parent.parent} has a run with other settings than the plan now asks for; delete the folder, or use '
            'another --work-dir'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def common_start(plan: Plan, runs: Runs, folder: Path) -> str | None:
    """Checkpoint that all rows start from; trains its stage first if the plan names a config.

    Args:
        plan: The study.
        runs: Runs the tools.
        folder: Folder for the stages that several studies start from.
    """
    if plan.start is None or not plan.start.endswith('.py'):
        return plan.start and str(Path(plan.start).resolve())
    config, target = Path(plan.start).resolve(), folder.resolve() / Path(plan.start).stem
    runs(['tools/train.py', str(config), '--work-dir', str(target), '--resume'], target / 'log.txt')
    return str(checkpoints_in(target)[0])


def run(plan: Plan, name: str, seed: int, folder: Path, start: str | None, runs: Runs) -> None:
    """Trains and scores one row with one seed, unless it is finished.

    Raises:
        OptionError: The run failed, or the folder has a run with other settings.
    """
    row, target = plan.rows[name], run_folder(folder.resolve(), name, seed)
    config = Config.fromfile(row.config)
    config.merge_from_dict({**plan.options, **row.options, 'randomness.seed': seed})
    if row.iters is not None:
        set_iterations(config, row.iters)
    if start is not None:
        config.load_from = start
    path, metrics = target / 'settings' / 'config.py', target / 'metrics.json'  # the runner writes target/config.py
    write_once(path, config.pretty_text)
    if not metrics.exists():
        runs(['tools/train.py', str(path), '--work-dir', str(target), '--resume'], target / 'log.txt')
        last = str(checkpoints_in(target)[0])
        test = ['tools/test.py', str(path), last, '--work-dir', str(target), '--metrics', str(metrics)]
        runs(test, target / 'log.txt')


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
        if not args.show:
            failures = run_all(plan, args, folder)
            for failure in failures:
                print(f'error: {failure}', file=sys.stderr)
        print(study_table(plan, read_scores(plan, folder)))
        if not args.show and failures:
            raise SystemExit(1)


def run_all(plan: Plan, args: argparse.Namespace, folder: Path) -> list[OptionError]:
    """Runs all rows with all seeds, and writes the table after each; returns the errors of those that failed."""
    jobs = [(name, seed) for seed in args.seeds or plan.seeds for name in args.rows or plan.rows]
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // args.jobs)))
    runs, failures = Runs(), []
    start = common_start(plan, runs, args.start_dir)
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(run, plan, name, seed, folder, start, runs) for name, seed in jobs]
        try:
            for future in tqdm(as_completed(futures), total=len(jobs), unit='run'):
                try:
                    future.result()
                except OptionError as error:
                    failures.append(error)
                write_study(plan, read_scores(plan, folder), folder)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            runs.stop()
            raise
    return failures


if __name__ == '__main__':
    main()
