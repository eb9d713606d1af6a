"""Configs that train a named model on the classes of a dataset, one for each stage."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict

from mmdvis.checkpoints.loading import WITHOUT_WEIGHTS
from mmdvis.checkpoints.zoo import SHIPPED, ModelEntry
from mmdvis.datasets.training_data import TrainingData
from mmdvis.errors import OptionError

from .config_text import Expression, assignment, comment

STAGES = ('segmenter', 'tracker', 'refiner')
METRICS = {'VPS': 'VPQ', 'VIS': 'AP', 'VSS': 'mIoU'}
CLIP_LENGTHS = {'segmenter': 1, 'tracker': 5, 'refiner': 10}
VPQ_WINDOWS = (1, 2, 4, 6)
MAX_TRACKS = 20
MAX_EDGE = 1333
NUM_VALIDATIONS = 10
PATIENCE = 5  # validations without a better result, after which a training stops
ROOT = Expression('data_root')


@dataclass(frozen=True)
class Lengths:
    """Length of a training.

    Attributes:
        batch_size: Clips of one frame per iteration; of longer clips, half as many are taken.
        iterations: Iterations of each stage.
    """

    batch_size: int
    iterations: int

    @property
    def interval(self) -> int:
        """Iterations between two validations."""
        return max(50, math.ceil(self.iterations / NUM_VALIDATIONS))

    def num_clips(self, stage: str) -> int:
        """Clips per iteration of a stage."""
        return self.batch_size if CLIP_LENGTHS[stage] == 1 else max(1, self.batch_size // 2)


def default_lengths(data: TrainingData, batch_size: int | None = None, iterations: int | None = None) -> Lengths:
    """Lengths for a dataset and the device: each frame is seen about 30 times, in 500 to 10,000 iterations.

    Args:
        data: The dataset.
        batch_size: Clips per iteration; None: two on a CPU, one for each 6 GiB of a GPU, at most eight.
        iterations: Iterations of each stage; None computes them.
    """
    if batch_size is None and torch.cuda.is_available():
        batch_size = max(1, min(8, torch.cuda.get_device_properties(0).total_memory // (6 << 30)))
    batch_size = batch_size or 2
    return Lengths(
        batch_size, iterations or min(10_000, max(500, 100 * round(30 * data.num_frames / batch_size / 100)))
    )


def starter_configs(
    data: TrainingData,
    entry: ModelEntry,
    weights: Path | None,
    out: Path,
    lengths: Lengths,
    stages: Sequence[str] = STAGES,
    others: Sequence[TrainingData] = (),
) -> dict[Path, str]:
    """Text of a config for each stage.

    Args:
        data: The dataset.
        entry: Model that the training starts from.
        weights: Its weights; None for a random start.
        out: Path of the config of the first stage; those of the others are called ``<stem>_<stage>.py``.
        lengths: Lengths of the training.
        stages: Stages in the order of the training. One that is not the segmenter continues the training of a model
            with the same classes.
        others: Datasets with the same classes whose training videos are mixed in.

    Returns:
        Path -> text, in the order of the training.

    Raises:
        OptionError: The model has no such stage, or a dataset or the model has other classes.
    """
    base = Config.fromfile(entry.config)
    model = base.model
    if model.type != 'DVIS':
        raise OptionError(f'{entry.name} is no model of the DVIS family; take one of `mmdvis models`')
    if list(stages) != list(STAGES[: len(stages)]) and len(stages) > 1:
        raise OptionError(f'stages must be the first of {", ".join(STAGES)}, or one of them, got {", ".join(stages)}')
    if stages[0] != 'segmenter':
        check_continued(data, entry, model, stages[0], weights)
    for other in others:
        found, expected = ((x.task, x.classes.names, x.classes.num_things) for x in (other, data))
        if found != expected:
            raise OptionError(
                f'{other.train["data_root"]} and {data.train["data_root"]} differ in layout or classes, so they '
                'cannot be mixed; convert both with the same --to and --classes'
            )
    texts = {out: first_config((data, *others), entry, base, weights, lengths, stages[0])}
    paths = [out, *(out.with_name(f'{out.stem}_{stage}.py') for stage in stages[1:])]
    for before, path, stage in zip(paths, paths[1:], stages[1:]):
        texts[path] = next_config(before.name, data.task, model, stage, lengths)
    return texts


def check_continued(data: TrainingData, entry: ModelEntry, model: ConfigDict, stage: str, weights: Path | None) -> None:
    """Raises OptionError if a stage cannot be trained without those before it."""
    if weights is None or not model.get(stage) or model[stage].type in WITHOUT_WEIGHTS:
        raise OptionError(f'{entry.name} has no trained {stage}; take --stages segmenter tracker refiner')
    if model.num_classes != len(data.classes.names):
        raise OptionError(
            f'{entry.name} has {model.num_classes} classes and the data has {len(data.classes.names)}, so its '
            'segmenter must be trained, too; take --stages segmenter tracker refiner'
        )


def first_config(
    datasets: Sequence[TrainingData],
    entry: ModelEntry,
    base: Config,
    weights: Path | None,
    lengths: Lengths,
    stage: str,
) -> str:
    """Text of the config with the data, from which those of later stages inherit."""
    data = datasets[0]
    names, things = data.classes.names, data.classes.num_things
    trained = entry.short_edge or (base.test_dataloader.dataset.get('test') or {}).get('short_edge')
    short_edge = min(trained or data.short_edge, data.short_edge)
    loading: dict[str, Any] = dict(type='CheckpointLoadingHook')
    if stage == 'segmenter' and weights is not None:
        loading.update(required=['segmenter'], allow_mismatch=['segmenter.cls_embed'])
    slow = [] if weights is None else ['backbone', 'pixel_decoder', 'segmenter.decoder']
    if stage != 'segmenter':
        slow = [stage]  # a trained stage goes on
    return lines_of(
        comment(f'Trains {entry.name} on {data.train["data_root"]}; written by `mmdvis data init`.'),
        comment(f'Things: {", ".join(names[:things]) or "none"}. Stuff: {", ".join(names[things:]) or "none"}.'),
        assignment('_base_', base_name(entry.config)),
        assignment('data_root', f'{data.train["data_root"]}/'),
        assignment('model', model_changes(data, base.model, stage, weights is not None)),
        *data_text(datasets, base, short_edge, stage, lengths),
        assignment('optim_wrapper', dict(paramwise_cfg=dict(lr_mult=dict.fromkeys(slow, 0.1)))),
        *schedule_text(lengths),
        assignment('default_hooks', dict(checkpoint=saving(data.task, lengths), logger=dict(interval=10))),
        assignment('custom_hooks', hooks(loading, data.task)),
        assignment('load_from', None if weights is None else str(weights)),
    )


def base_name(config: Path) -> str:
    """How a config is named as a base: by the package if it is part of it, else by its path."""
    shipped = SHIPPED / 'configs'
    return f'mmdvis::{config.relative_to(shipped).as_posix()}' if config.is_relative_to(shipped) else str(config)


def next_config(base: str, task: str, model: ConfigDict, stage: str, lengths: Lengths) -> str:
    """Text of the config of the tracker or the refiner, which inherits from the stage before it."""
    changes = {stage: part_for(model, stage)}
    if stage == 'refiner' and not model.get('refiner'):
        changes['tracker'] = dict(context='first_frame')  # as DVIS; models with a refiner have their own option
    loader = dict(batch_size=lengths.num_clips(stage), dataset=dict(clip=dict(num_frames=CLIP_LENGTHS[stage])))
    return lines_of(
        comment(f'Trains the {stage}; `mmdvis train-stages` passes the weights of the stages before it.'),
        assignment('_base_', f'./{base}'),
        assignment('model', changes),
        assignment('train_dataloader', loader),
        assignment('custom_hooks', hooks(dict(type='CheckpointLoadingHook'), task)),
        assignment('load_from', None),
    )


def lines_of(*parts: str) -> str:
    """Text of a file."""
    return '\n'.join(parts) + '\n'


def model_changes(data: TrainingData, model: ConfigDict, stage: str, has_weights: bool) -> dict[str, Any]:
    """Differences of the model to that of its config."""
    postprocessors: dict[str, dict[str, Any]] = dict(
        VPS=dict(type='PanopticPostprocessor', num_things=data.classes.num_things, score_thr=0.5, overlap_thr=0.6),
        VIS=dict(type='InstancePostprocessor', max_num=MAX_TRACKS),
        VSS=dict(type='SemanticPostprocessor'),
    )
    changes: dict[str, Any] = dict(
        num_classes=len(data.classes.names), postprocessor=dict(_delete_=True, **postprocessors[data.task])
    )
    if has_weights and model.segmenter.backbone.get('init_cfg'):
        changes['segmenter'] = dict(backbone=dict(init_cfg=None))  # the weights of the model contain the backbone
    if stage == 'segmenter' and model.tracker.type not in WITHOUT_WEIGHTS:
        changes['tracker'] = dict(_delete_=True, type='CosineTracker')
    if stage != 'refiner' and model.get('refiner'):
        changes['refiner'] = None
    return changes


def part_for(model: ConfigDict, stage: str) -> dict[str, Any]:
    """Config of the tracker or the refiner of a model, or, if it has none, of one as wide as its segmenter."""
    segmenter, own = model.segmenter, model.get(stage)
    replaced = dict(_delete_=True) if stage == 'tracker' or own else {}
    if own and own.type not in WITHOUT_WEIGHTS:
        return dict(**replaced, **own.to_dict())
    if 'channels' not in segmenter:
        raise OptionError(
            f'there is no {stage} for models with {segmenter.type}, so they cannot have this stage; leave out --stages'
        )
    channels = segmenter.channels * (2 if segmenter.get('reid') else 1)  # with the re-identification embedding
    decoder = (
        dict(num_layers=6, num_heads=8, ffn_channels=2048)
        if channels >= 128
        else dict(num_layers=3, num_heads=4, ffn_channels=4 * channels)
    )
    kind, matching = {'tracker': ('DVISTracker', 'first_appearance'), 'refiner': ('TemporalRefiner', 'video')}[stage]
    points = segmenter.loss.get('num_points')
    loss = dict(type='QuerySetLoss', matching=matching, **({} if points is None else dict(num_points=points)))
    sizes = dict(channels=channels, mask_channels=segmenter.mask_channels)
    return dict(**replaced, type=kind, **sizes, decoder=decoder, loss=loss)


def data_text(
    datasets: Sequence[TrainingData], base: Config, short_edge: int, stage: str, lengths: Lengths
) -> list[str]:
    """Lines with the datasets and the metrics."""
    data, *others = datasets
    shared = {key: value for key, value in data.train.items() if data.val.get(key) == value}
    shared = dict(shared, data_root=ROOT, metainfo=dict(dataset_type=f'dataset {Path(data.train["data_root"]).name}'))
    train, val = ({key: part[key] for key in part if key not in shared} for part in (data.train, data.val))
    lines, chosen = [], data.val_videos
    if chosen:
        lines.append(assignment('held_out', list(chosen)) + '  # positions of the videos for validation')
        train['indices'] = Expression(f'[k for k in range({data.num_videos + len(chosen)}) if k not in held_out]')
        val['indices'] = Expression('held_out')
    elif not data.has_val:
        lines.append(comment('There is only one video: the results of the validation are those of a training video.'))
    clips = clips_of([size for part in datasets for size in part.sizes], short_edge)
    if stage == 'segmenter' and base.model.tracker.type == 'FixedTracker':  # it also learns to track
        clips['clip'] = dict(num_frames=CLIP_LENGTHS['tracker'], frame_range=2)
        lengths = replace(lengths, batch_size=lengths.num_clips('tracker'))
    if stage != 'segmenter':  # goes on as it was trained
        clips = {key: base.train_dataloader.dataset.get(key, {}) for key in ('clip', 'augment')}
    videos: dict[str, Any] = {'_delete_': True, '**videos': None, **train, **clips}
    sampler: dict[str, Any] = dict(_delete_=True, type='ClipSampler')
    if others:
        parts: dict[str, Any] = dict(own={'**videos': None, **train})
        parts.update({f'other{k}': dict(other.train) for k, other in enumerate(others, 1)})
        videos = dict(_delete_=True, type='ConcatClipDataset', **clips, datasets=parts)
        sampler['ratios'] = [1.0] * len(datasets)
    loader = dict(batch_size=lengths.num_clips(stage), num_workers=2, sampler=sampler, dataset=videos)
    val.update(test_mode=True, test=dict(short_edge=short_edge, max_edge=MAX_EDGE))
    in_order = dict(type='DefaultSampler', shuffle=False, round_up=False)
    whole = dict(batch_size=1, num_workers=0, sampler=in_order, dataset={'**videos': None, **val})
    return [
        assignment('videos', shared),
        *lines,
        assignment('train_dataloader', loader),
        assignment('whole_videos', whole),
        *(test_loader(base, name) for name in ('val', 'test')),
        *metric_text(data),
        'test_evaluator = val_evaluator',
    ]


def test_loader(base: Config, name: str) -> str:
    """Line of the data loader for validation or test, which replaces that of the base."""
    replaced = '_delete_=True, ' if base.get(f'{name}_dataloader') else ''
    return f'{name}_dataloader = dict({replaced}**whole_videos)'


def clips_of(sizes: Sequence[tuple[int, int]], short_edge: int) -> dict[str, Any]:
    """Clips of one frame for a segmenter: resized and cropped, so that all have the same size.

    Args:
        sizes: (height, width) of the videos.
        short_edge: Short edge at test time.
    """
    edges = sorted({max(32, 8 * round(short_edge * share / 8)) for share in (0.8, 0.9, 1.0, 1.1, 1.2, 1.4)})
    smallest = [
        (edges[0] * height // min(height, width), edges[0] * width // min(height, width)) for height, width in sizes
    ]
    crop = min(height for height, _ in smallest), min(width for _, width in smallest)
    return dict(clip=dict(num_frames=1), augment=dict(short_edges=edges, crop=dict(size=crop), flip=0.5))


def metric_text(data: TrainingData) -> list[str]:
    """Lines with the metrics."""
    annotations = Expression(f'data_root + {data.val["ann_file"]!r}')
    if data.task == 'VPS':
        folder = Expression(f'data_root + {data.val["data_prefix"]["seg"]!r}')
        windows = tuple(k for k in VPQ_WINDOWS if k <= data.val_length)  # no video has a longer window
        chosen = {} if windows == VPQ_WINDOWS else dict(windows=windows)
        metrics = [{'type': 'VPQMetric', '**truth': None, **chosen}, {'type': 'STQMetric', '**truth': None}]
        return [assignment('truth', dict(gt_json=annotations, gt_dir=folder)), assignment('val_evaluator', metrics)]
    if data.task == 'VIS':
        metric = dict(type='VISMetric', gt_json=annotations, ovis=data.val['type'] == 'OVISDataset')
        return [assignment('val_evaluator', [metric])]
    return [assignment('val_evaluator', [dict(type='VSSMetric', gt_root=ROOT)])]


def schedule_text(lengths: Lengths) -> list[str]:
    """Lines with the iterations and the learning rate, which is constant and then falls to 2 % in the second half."""
    number = lengths.iterations
    warm_up = dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=max(1, min(100, number // 10)))
    decay = dict(type='LinearLR', end_factor=0.02, start_factor=1.0, by_epoch=False, begin=number // 2, end=number)
    return [
        assignment('param_scheduler', [warm_up, decay] if number > 1 else [warm_up]),
        assignment('train_cfg', dict(max_iters=number, val_interval=lengths.interval)),
        assignment('val_cfg', dict(type='ValLoop')),
    ]


def saving(task: str, lengths: Lengths) -> dict[str, Any]:
    """Options of the hook that saves checkpoints."""
    return dict(interval=lengths.interval, save_best=METRICS[task], rule='greater')


def hooks(loading: dict[str, Any], task: str) -> list[dict[str, Any]]:
    """Configs of the hooks of a training, which stops if the validation does not improve."""
    stopping = dict(type='EarlyStoppingHook', monitor=METRICS[task], rule='greater', min_delta=0.001, patience=PATIENCE)
    return [loading, dict(type='ClassCountHook'), stopping]
