"""Complete example on synthetic videos: creates data, trains and evaluates three stages, and draws a video."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdvis.analysis.toy_report import compare_video, summary_table, write_summary
from mmdvis.apis import init_model
from mmdvis.registry import DATASETS

ROOT = Path(__file__).resolve().parent.parent
STAGES = dict(
    minvis='minvis_r18_1xb8-t1_toy',
    dvis_online='dvis-online_r18_1xb4-t10_toy',
    dvis_offline='dvis-offline_r18_1xb3-t20_toy',
)
RECIPES = dict(demo=dict(suffix='', videos=(400, 24)), bench=dict(suffix='-bench', videos=(1600, 60)))


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--work-dir', default='work_dirs/toy', help='output folder')
    parser.add_argument(
        '--recipe',
        choices=RECIPES,
        default='demo',
        help='demo: few videos and short training; bench: recipe of the toy benchmark',
    )
    parser.add_argument('--seed', type=int, default=0, help='random seed of the videos and the training')
    parser.add_argument('--video', help='video file to segment with the trained model')
    return parser.parse_args()


class Steps:
    """Runs commands and stores their durations; completed steps are skipped until an earlier step has been run again.

    Args:
        folder: Work folder.

    Attributes:
        file: Path of the stored durations.
        seconds: Step -> duration in seconds.
        has_run: Whether a step has been run by this object.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / 'seconds.json'
        self.seconds: dict[str, float] = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.has_run = False

    def run(self, name: str, output: Path, command: list[str]) -> None:
        """Runs a tool of the repository, unless its output exists and no earlier step has been run.

        Args:
            name: Name of the step.
            output: File that the step writes.
            command: Path of the tool in the repository, and its arguments.

        Raises:
            SystemExit: If the tool fails.
        """
        if output.exists() and name in self.seconds and not self.has_run:
            print(f'{name}: skipped, because {output} exists')
            return
        print(f'{name}: {" ".join(command)}', flush=True)
        start, self.has_run = time.time(), True
        if subprocess.run([sys.executable, *command], cwd=ROOT).returncode:
            raise SystemExit(f'the step {name} failed; see its output above')
        self.seconds[name] = round(time.time() - start, 1)
        self.file.write_text(json.dumps(self.seconds))


def prepare(folder: Path, args: argparse.Namespace) -> None:
    """Creates the work folder and removes the results of another recipe or seed from it.

    Args:
        folder: Work folder.
        args: Arguments of this script.

    Raises:
        SystemExit: If the folder contains files that this script did not write.
    """
    settings = json.dumps(dict(recipe=args.recipe, seed=args.seed))
    settings_file = folder / 'settings.json'
    if folder.exists() and any(folder.iterdir()) and not settings_file.exists():
        raise SystemExit(f'{folder} contains files of another program; choose an empty or new folder with --work-dir')
    if settings_file.exists() and settings_file.read_text() != settings:
        for name in ('data', *STAGES, 'oracle', 'seconds.json', 'summary.json'):
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    settings_file.write_text(settings)


def create_videos(steps: Steps, data: Path, videos: tuple[int, int], seed: int) -> None:
    """Creates the numbers of training and validation videos in the folder ``data``."""
    numbers = ['--num-train', str(videos[0]), '--num-val', str(videos[1])]
    command = ['tools/dataset_converters/make_toy_videos.py', str(data), '--seed', str(seed), *numbers, '--layouts']
    steps.run('data', data / 'panoptic_gt_VIPSeg_val.json', command)


def train_and_test(steps: Steps, folder: Path, name: str, config: Path, options: list[str]) -> Path:
    """Trains and evaluates a stage in ``folder / name``; returns its checkpoint."""
    work = folder / name
    checkpoint = work / f'iter_{Config.fromfile(config).train_cfg["max_iters"]}.pth'
    common = ['--work-dir', str(work)]
    steps.run(
        f'train {name}', checkpoint, ['tools/train.py', str(config), *common, '--overwrite', '--cfg-options', *options]
    )
    metrics = work / 'metrics.json'
    steps.run(
        f'test {name}', metrics, ['tools/test.py', str(config), str(checkpoint), *common, '--metrics', str(metrics)]
    )
    return checkpoint


def show_results(folder: Path, config: Path, checkpoint: Path, video: str | None) -> None:
    """Draws a validation video beside its ground truth, and the results of ``video`` if there is one."""
    init_default_scope('mmdvis')
    model = init_model(str(config), str(checkpoint))
    dataset = DATASETS.build(Config.fromfile(config).test_dataloader.dataset)
    print(compare_video(model, dataset, 0, folder / 'result_and_truth'))
    if video:
        source = str(Path(video).resolve())
        command = ['demo/video_demo.py', source, str(config), str(checkpoint), '--out', str(folder / 'video')]
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True)


def main() -> None:
    """Runs all steps."""
    args = parse_args()
    folder, recipe = Path(args.work_dir).resolve(), RECIPES[args.recipe]
    prepare(folder, args)
    steps, data = Steps(folder), folder / 'data'
    os.environ['TOY_DATA'] = str(data)
    create_videos(steps, data, recipe['videos'], args.seed)
    options = [f'randomness.seed={args.seed}']
    configs = {name: ROOT / 'configs' / 'toy' / f'{stem}{recipe["suffix"]}.py' for name, stem in STAGES.items()}
    checkpoints: dict[str, Path] = {}
    for name, config in configs.items():
        start = [f'load_from={last}' for last in list(checkpoints.values())[-1:]]
        checkpoints[name] = train_and_test(steps, folder, name, config, [*options, *start])
    oracle = folder / 'oracle' / 'metrics.json'
    minvis = [str(configs['minvis']), str(checkpoints['minvis'])]
    steps.run('test oracle', oracle, ['tools/analysis_tools/association_ceiling.py', *minvis, '--metrics', str(oracle)])
    summary = write_summary(folder, (*STAGES, 'oracle'), steps.seconds)
    print(summary_table(summary))
    print(f'total {sum(steps.seconds.values()) / 60:.1f} minutes; {folder / "summary.json"}')
    show_results(folder, configs['dvis_offline'], checkpoints['dvis_offline'], args.video)


if __name__ == '__main__':
    main()
