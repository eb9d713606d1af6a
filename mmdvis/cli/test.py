"""Evaluates a checkpoint on the test set of a config."""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial

from mmengine.dist import is_main_process
from prettytable import PrettyTable

from mmdvis.cli.arguments import add_config_options, add_launcher, add_trust, program, set_local_rank
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.engine.launch import fusion_passes, load_config, set_fusion, test
from mmdvis.inference.optimize_for_inference import OPTIMISED, optimize_for_inference
from mmdvis.io import write_json


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line, which has the options of test.py of mmdet."""
    parser = argparse.ArgumentParser(
        prog=program('test'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder for logs; None: as in the config, or work_dirs/<name of the config>')
    parser.add_argument('--out', help='.pkl file to write the results of all videos to')
    parser.add_argument('--show-dir', help='folder to write visualisations of the results to, one video per test video')
    parser.add_argument(
        '--format-only',
        metavar='DIR',
        help='folder to write a zip file of the results for the challenge servers to; no metrics are computed',
    )
    parser.add_argument(
        '--tta',
        nargs='+',
        type=int,
        metavar='EDGE',
        help='short edges of the test-time passes to fuse (PVUW 2023: 720 800); the limit of the long edge is scaled '
        'with them',
    )
    parser.add_argument(
        '--tta-flip', action='store_true', help='also fuse a pass with horizontally flipped frames for each short edge'
    )
    parser.add_argument(
        '--ensemble', nargs='+', default=[], metavar='CKPT', help='further checkpoints of the same config to fuse'
    )
    parser.add_argument(
        '--precision',
        choices=OPTIMISED,
        help='precision of matrix products: fp32 (with folded batch norms), bf16, fp16, or int8 (only on a CPU); None: '
        'float32, without any change of the model',
    )
    parser.add_argument('--metrics', help='json file to write the metrics to')
    add_config_options(parser)
    add_trust(parser)
    add_launcher(parser)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluates the checkpoint and writes the requested files."""
    args = parse_args(arguments)
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        raise SystemExit(f'--out must be a .pkl file, got {args.out}')
    set_local_rank(args)
    config = load_config(args.config, args.work_dir, args.cfg_options, args.launcher)
    if args.format_only:
        config.test_evaluator = [dict(type='SubmissionWriter', out_dir=args.format_only)]
    if args.out:
        config.test_evaluator = [*config.test_evaluator, dict(type='DumpResults', out_file_path=args.out)]
    if args.show_dir:
        config.custom_hooks = [
            *config.get('custom_hooks', []),
            dict(type='VideoVisualizationHook', out_dir=args.show_dir),
        ]
    checkpoints = [args.checkpoint, *args.ensemble]
    if args.tta or args.tta_flip or args.ensemble:
        sizes = dict(config.test_dataloader.dataset.get('test') or {})
        short_edge, max_edge = sizes.get('short_edge'), sizes.get('max_edge')
        passes = fusion_passes(args.tta or [short_edge], args.tta_flip, short_edge, max_edge)
        set_fusion(config, len(checkpoints), passes)
    with exit_on_error():
        prepare = None if args.precision is None else partial(optimize_for_inference, precision=args.precision)
        metrics = test(config, checkpoints, args.trust, prepare)
    if is_main_process():
        print(metrics_table(metrics))
        if args.metrics:
            write_json(args.metrics, metrics, indent=1)


def metrics_table(metrics: Mapping[str, float]) -> PrettyTable:
    """The metrics, which are in [0, 1], in percent."""
    table = PrettyTable(['metric', '%'])
    table.align['metric'], table.align['%'] = 'l', 'r'
    for name, value in metrics.items():
        table.add_row([name, f'{100 * value:.1f}'])
    return table


if __name__ == '__main__':
    main()
