"""Trains and scores the rows of a study with several seeds, and compares them with its baseline.

The plan is a YAML file; see ``benchmarks/ablations`` for examples. Runs with the same settings are done once for all
studies, and interrupted ones go on from their last checkpoint. After each run, ``results.json``, ``table.md`` and
``plot.png`` are written.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock

from tqdm import tqdm

from mmdvis.analysis.ablation import Plan, Scores, read_plan, study_table, write_study
from mmdvis.analysis.study_runs import Run, chain, in_order, known_scores, read_scores, study_runs, write_start
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.engine.launch import set_iterations
from mmdvis.engine.work_folder import checkpoints_in
from mmdvis.errors import MMDVISError, OptionError
from mmdvis.io import write_json

ROOT = Path(__file__).resolve().parent.parent.parent


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('plan', type=Path, help='YAML file of the study')
    parser.add_argument('--work-dir', type=Path, help='output folder (default: work_dirs/ablations/<name of the plan>)')
    parser.add_argument(
        '--runs',
        type=Path,
        default=Path('work_dirs/ablations/runs'),
        help='folder of the trainings, which all studies share (default: %(default)s)',
    )
    parser.add_argument(
        '--cache',
        type=Path,
        help='folder for the outputs of frozen stages, which are then computed once for each frame; they are large',
    )
    parser.add_argument(
        '--known',
        type=Path,
        default=ROOT / 'benchmarks' / 'ablations' / 'results',
        help='folder with <plan>.json of earlier runs, which are not repeated (default: %(default)s)',
    )
    parser.add_argument('--record', action='store_true', help='add the results to that folder')
    parser.add_argument('--rows', nargs='+', help='run only these rows')
    parser.add_argument('--seeds', type=int, nargs='+', help='run only these seeds')
    parser.add_argument('--jobs', type=int, default=1, help='number of runs at the same time (default: %(default)s)')
    parser.add_argument('--show', action='store_true', help='only print the table of the finished runs')
    return parser.parse_args()


class Calls:
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


class Trainer:
    """Trains and scores runs, each only once.

    Args:
        folder: Folder of all runs.
        cache: Folder for the outputs of frozen stages; None computes them in every iteration.
        call: Runs a tool of the repository.
    """

    def __init__(self, folder: Path, cache: Path | None, call: Calls) -> None:
        self.folder, self.cache, self.call = folder.resolve(), cache and cache.resolve(), call
        self.locks: dict[str, Lock] = defaultdict(Lock)
        self.failed: dict[str, MMDVISError] = {}

    def __call__(self, run: Run) -> None:
        """Trains and scores a run, after those that it starts from.

        Raises:
            OptionError: A tool failed.
            CheckpointError: The weights to start from do not fit.
        """
        for part in chain(run):
            with self.locks[part.name]:
                if part.name in self.failed:
                    raise self.failed[part.name]
                try:
                    self.finish(part)
                except MMDVISError as error:
                    self.failed[part.name] = error
                    raise

    def finish(self, run: Run) -> None:
        """Trains and scores a run whose start is finished."""
        target = self.folder / run.name
        path, metrics = target / 'settings' / 'config.py', target / 'metrics.json'  # the runner writes target/config.py
        if metrics.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(run.settings)
        options = []
        before = None if run.start is None else str(checkpoints_in(self.folder / run.start.name)[0])
        if before is not None:
            options.append(f'load_from={before}')
        if self.cache is not None:
            hook = 'default_hooks.frozen_cache'
            options += [f'{hook}.type=FrozenOutputCacheHook', f'{hook}.folder={self.cache}']
        log, folder = target / 'log.txt', ['--work-dir', str(target)]
        start = time.time()
        if run.is_trained:
            train = ['tools/train.py', str(path), *folder, '--resume']
            self.call([*train, *(['--cfg-options', *options] if options else [])], log)
            write_json(target / 'seconds.json', dict(training=round(time.time() - start)))
        elif run.weights is not None:
            write_start(path, run.weights, target / 'iter_0.pth')
        has_checkpoint = run.is_trained or run.weights is not None  # else it scores the checkpoint of its start
        last = str(checkpoints_in(target)[0]) if has_checkpoint else str(before)
        fusion = ['--tta', *map(str, run.tta)] if run.tta else []
        self.call(['tools/test.py', str(path), last, *folder, '--metrics', str(metrics), *fusion], log)


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
        absent = sorted(set(args.seeds or ()) - set(plan.seeds))
        if absent:
            raise OptionError(f'{args.plan} has no seed {absent[0]}; it has {", ".join(map(str, plan.seeds))}')
        if args.jobs < 1:
            raise OptionError(f'--jobs must be at least 1, got {args.jobs}')
        runs = study_runs(plan, set_iterations)
        known = known_scores(plan, runs, args.known / f'{args.plan.stem}.json')
        failures = [] if args.show else run_all(plan, runs, known, args, folder)
        for failure in failures:
            print(f'error: {failure}', file=sys.stderr)
        print(study_table(plan, read_scores(plan, runs, args.runs, known)))
        if args.record and (folder / 'results.json').is_file():
            args.known.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / 'results.json', args.known / f'{args.plan.stem}.json')
        if failures:
            raise SystemExit(1)


def run_all(
    plan: Plan, runs: dict[tuple[str, int], Run], known: Scores, args: argparse.Namespace, folder: Path
) -> list[MMDVISError]:
    """Runs the chosen rows and seeds unless they are known, and writes the table after each; returns what failed."""
    wanted = [(name, seed) for seed in args.seeds or plan.seeds for name in args.rows or plan.rows]
    chosen = [runs[name, seed] for name, seed in wanted if seed not in known.get(name, {})]
    jobs = in_order(chosen)
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // args.jobs)))
    calls, failures = Calls(), []
    names = {key: run.name for key, run in runs.items()}
    trainer = Trainer(args.runs, args.cache, calls)
    write_study(plan, read_scores(plan, runs, args.runs, known), folder, names)
    with ThreadPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(trainer, run) for run in jobs]
        try:
            for future in tqdm(as_completed(futures), total=len(jobs), unit='run'):
                try:
                    future.result()
                except MMDVISError as error:
                    failures.append(error)
                write_study(plan, read_scores(plan, runs, args.runs, known), folder, names)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            calls.stop()
            raise
    return failures


if __name__ == '__main__':
    main()
