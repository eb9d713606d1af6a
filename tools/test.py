"""Scores a checkpoint on the test set of a config."""

import argparse
import json
import os
from pathlib import Path

from mmengine.config import DictAction
from mmengine.dist import is_main_process

import mmdvis.registry  # noqa: F401 (configs may inherit from mmdvis::...)
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.engine.launch import fusion_passes, load_config, set_fusion, test
from mmdvis.errors import BadInputError


def parse_args() -> argparse.Namespace:
    """The command line, with the flags of mmdet's test.py."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--work-dir', help='folder for logs')
    parser.add_argument('--out', help='write the results of all videos to this .pkl file')
    parser.add_argument('--show-dir', help='write a video with the results drawn in for each test video to this folder')
    parser.add_argument(
        '--format-only',
        metavar='DIR',
        help='score nothing, but write and zip the results as the challenge servers take them',
    )
    parser.add_argument(
        '--tta',
        nargs='+',
        type=int,
        metavar='EDGE',
        help="fuse passes with these short edges (PVUW 2023: 720 800); the long edge's limit grows with them",
    )
    parser.add_argument('--tta-flip', action='store_true', help='also fuse the mirror image of each pass')
    parser.add_argument(
        '--ensemble', nargs='+', default=[], metavar='CKPT', help='fuse with further checkpoints of the config'
    )
    parser.add_argument('--metrics', help='write the figures to this json file')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='overrides, as key=value')
    parser.add_argument('--trust', action='store_true', help='load checkpoints without guarding against code in them')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Scores, and writes what was asked for."""
    args = parse_args()
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        raise SystemExit(f'--out must be a .pkl file, got {args.out}')
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
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
    with exit_on_error(BadInputError):
        metrics = test(config, checkpoints, args.trust)
    if args.metrics and is_main_process():
        path = Path(args.metrics)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(metrics, indent=1))


if __name__ == '__main__':
    main()
