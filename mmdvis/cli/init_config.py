"""Writes configs that train a named model on your own dataset, one for each stage."""

import argparse
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

from mmdvis.analysis.starter_config import STAGES, default_lengths, starter_configs
from mmdvis.checkpoints.zoo import ModelEntry, find_entry
from mmdvis.cli.arguments import program
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.datasets.training_data import TrainingData, read_training_data
from mmdvis.errors import OptionError
from mmdvis.io import atomic_write


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog=program('data init'), description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        'data',
        type=Path,
        nargs='+',
        help='folder in the layout of VIPSeg, YouTube-VIS, OVIS or VSPW; training videos of further folders with the '
        'same classes are mixed in, as often as those of the first',
    )
    parser.add_argument(
        '--model',
        default='minvis_swin-t_coco-panoptic',
        help='model to start from: a name (see `mmdvis models`), a config with --weights, or a checkpoint of your own '
        'training, in its work folder',
    )
    parser.add_argument('--weights', type=Path, help='its weights; None: those of the name, which are downloaded')
    parser.add_argument('--from-scratch', action='store_true', help='start from random weights')
    parser.add_argument(
        '-o',
        '--out',
        type=Path,
        default=Path('my.py'),
        help='config of the first stage; others are called my_tracker.py',
    )
    parser.add_argument(
        '--stages', nargs='+', choices=STAGES, default=['segmenter'], help='stages to train, one config for each'
    )
    parser.add_argument('--iters', type=int, help='iterations of each stage; None: from the number of frames')
    parser.add_argument('--batch-size', type=int, help='clips per iteration; None: from the device')
    parser.add_argument(
        '--val', type=float, default=0.2, help='share of the videos for validation if the data has no such split'
    )
    parser.add_argument('--dry-run', action='store_true', help='print the configs; nothing is downloaded or written')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes or prints the configs."""
    args = parse_args(arguments)
    with exit_on_error():
        if not 0 <= args.val < 1:
            raise OptionError(f'--val must be from 0 to below 1, got {args.val}')
        for name in ('iters', 'batch_size'):
            if getattr(args, name) is not None and getattr(args, name) < 1:
                raise OptionError(f'--{name.replace("_", "-")} must be at least 1, got {getattr(args, name)}')
        if args.out.suffix != '.py':
            raise OptionError(f'a config must end with .py, got {args.out}')
        data, *others = (read_training_data(folder, args.val) for folder in args.data)
        entry = entry_of(args.model)
        lengths = default_lengths(data, args.batch_size, args.iters)
        texts = starter_configs(data, entry, weights_of(entry, args), args.out, lengths, args.stages, others)
        present = [path for path in texts if path.exists()]
        if present and not args.dry_run:
            raise OptionError(f'{present[0]} exists; name another file with -o')
        for path, text in texts.items():
            if args.dry_run:
                print(f'# ---- {path}\n{text}')
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(path) as temporary:
                    temporary.write_text(text)
        if not args.dry_run:
            print(summary(data, texts))
    return 0


def entry_of(model: str) -> ModelEntry:
    """The model of a name, of a config, or of a checkpoint beside whose config it is.

    Raises:
        OptionError: There is no such file, or no config beside the checkpoint.
        CheckpointError: There is no model of this name.
    """
    path = Path(model).resolve()
    if path.suffix not in ('.py', '.pth'):
        return find_entry(model)
    if not path.is_file():
        raise OptionError(f'there is no file {model}')
    config = path if path.suffix == '.py' else path.parent / f'{path.parent.name}.py'
    if not config.is_file():
        raise OptionError(f'there is no config {config} beside the checkpoint; name a config as --model, and --weights')
    return ModelEntry(path.stem, '', config, '', embedded=path if path.suffix == '.pth' else None)


def weights_of(entry: ModelEntry, args: argparse.Namespace) -> Path | None:
    """Path of the weights to start from; None for random weights."""
    if args.from_scratch:
        return None
    if args.weights is None and args.model.endswith('.py'):
        raise OptionError(
            f'{args.model} is a config and has no weights; name a checkpoint with --weights, or start from random '
            'weights with --from-scratch'
        )
    if args.weights is None:
        return entry.place_of_weights if args.dry_run else entry.find_weights()
    if not args.weights.is_file():
        raise OptionError(f'there is no file {args.weights}; name a checkpoint, or leave out --weights')
    return args.weights.resolve()


def summary(data: TrainingData, paths: Collection[Path]) -> str:
    """What was read and written, and the command that trains."""
    things = data.classes.num_things
    val = 'validation videos of the data' if not data.val_videos else f'{len(data.val_videos)} videos for validation'
    counts = f'{data.num_videos} videos with {data.num_frames} frames for training'
    command = 'train-stages' if len(list(paths)) > 1 else 'train'
    return (
        f'{data.task}: {counts}, {val if data.has_val else "no video for validation, as there is only one"}\n'
        f'{things} classes of things, {len(data.classes.names) - things} of stuff: {", ".join(data.classes.names)}\n'
        f'train with: {shlex.join(["mmdvis", command, *map(str, paths)])}'
    )
