"""Scores and speed of a stream in which the model processes every n-th frame and optical flow moves its results on."""

import argparse

from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from prettytable import PrettyTable
from tqdm import tqdm

from mmdvis.analysis.keyframe_scores import keyframe_scores
from mmdvis.apis import init_model, optimize_for_inference
from mmdvis.cli.arguments import add_config_options, add_trust
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.engine.launch import load_config
from mmdvis.inference.keyframes import CONFIDENT
from mmdvis.io import write_json
from mmdvis.registry import DATASETS


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--keyframes', type=int, nargs='+', default=[1, 2, 4, 8], help='distances of the keyframes')
    parser.add_argument(
        '--confidence', type=float, default=CONFIDENT, help='share of pixels that must be visible in both frames'
    )
    parser.add_argument('--metrics', nargs='+', default=['VPQ', 'VPQ_Th', 'AQ_corrected'], help='columns of the table')
    parser.add_argument('--work-dir', help='folder for logs; None: as in the config, or work_dirs/<name of the config>')
    parser.add_argument('--json', help='json file to write the results to')
    add_trust(parser)
    add_config_options(parser)
    return parser.parse_args()


def table(rows: dict[int, dict[str, float]], columns: list[str]) -> str:
    """Formats metrics in percent, the speed, and the share of processed frames, with one row per distance."""
    known = [name for name in columns if name in next(iter(rows.values()))]
    text = PrettyTable(['distance', *known, 'processed', 'frames/s', 'speed-up'])
    text.align = 'r'
    slowest = next(iter(rows.values()))['frames_per_second']
    for distance, metrics in rows.items():
        speed = metrics['frames_per_second']
        cells = [f'{100 * metrics[name]:.1f}' for name in (*known, 'keyframes')]
        text.add_row([distance, *cells, f'{speed:.2f}', f'{speed / slowest:.2f}'])
    return str(text)


def main() -> None:
    """Scores every distance and prints a table."""
    args = parse_args()
    init_default_scope('mmdvis')
    with exit_on_error(ValueError):
        config = load_config(args.config, args.work_dir, args.cfg_options)
        model = optimize_for_inference(init_model(config, args.checkpoint, trust=args.trust))
        settings = config.test_dataloader.dataset
        dataset, rows = DATASETS.build(settings), {}
        short_edge = (settings.get('test') or {}).get('short_edge')
        for distance in args.keyframes:
            evaluator = Evaluator(config.test_evaluator)
            evaluator.dataset_meta = dataset.metainfo

            def watch(jobs: range, distance: int = distance) -> tqdm:
                return tqdm(jobs, unit='video', desc=f'distance {distance}', disable=None)

            rows[distance] = keyframe_scores(model, dataset, evaluator, distance, short_edge, args.confidence, watch)
    print(table(rows, args.metrics))
    if args.json:
        write_json(args.json, {str(distance): metrics for distance, metrics in rows.items()}, indent=1)


if __name__ == '__main__':
    main()
