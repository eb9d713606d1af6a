"""What the tools do between the command line and the runner."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import barrier
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import find_latest_checkpoint

from mmdvis.checkpoints import Checkpoint, load_weights, with_trained_options
from mmdvis.errors import CheckpointError
from mmdvis.registry import RUNNERS

from .runner import VideoRunner
from .sharded import ShardedRunner

TRAINING_HOOKS = ('CheckpointLoadingHook', 'ClassCountHook')


def load_config(
    path: str, work_dir: str | None = None, options: dict[str, Any] | None = None, launcher: str = 'none'
) -> Config:
    """A config with what the command line overrides.

    Args:
        path: the file.
        work_dir: where logs and checkpoints go; None: the config's own, else ``work_dirs/<name of the config>``.
        options: ``--cfg-options``.
        launcher: none, pytorch, slurm or mpi.
    """
    config = Config.fromfile(path)
    config.merge_from_dict(options or {})
    config.launcher = launcher
    config.work_dir = work_dir or config.get('work_dir') or str(Path('work_dirs') / Path(path).stem)
    if launcher != 'none' and not torch.cuda.is_available():
        start_cpu_group(config)
    use_float32_on_cpu(config)
    return config


def use_float32_on_cpu(config: Config) -> None:
    """Replaces fp16 mixed precision, which scales losses and needs an accelerator, by float32 if there is none."""
    wrapper = config.get('optim_wrapper') or {}
    if wrapper.get('type') == 'AmpOptimWrapper' and get_device() == 'cpu':
        print_log('there is no accelerator, so the run uses float32 instead of fp16 mixed precision', 'current')
        wrapper['type'] = 'OptimWrapper'
        wrapper.pop('loss_scale', None)


def start_cpu_group(config: Config) -> None:
    """Starts the gloo group, and tells the model wrapper that there are no devices; mmengine does neither without CUDA."""
    if config.launcher != 'pytorch':
        raise ValueError(
            f"without CUDA the launcher must be 'pytorch' (torchrun), got {config.launcher!r}; "
            'use tools/dist_train.sh or tools/dist_test.sh'
        )
    if not dist.is_initialized():
        os.environ.setdefault('LOCAL_RANK', '0')
        dist.init_process_group('gloo')
    wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=False, **(config.get('model_wrapper_cfg') or {}))
    config.model_wrapper_cfg = dict(wrapper, device_ids=None)


def set_resume(config: Config, resume: str | None) -> None:
    """Sets what ``--resume`` means.

    Args:
        config: changed in place.
        resume: a checkpoint; ``'auto'``: the latest in the work folder, and where there is none the config's own
            ``load_from`` stays, so that a later stage never trains on weights drawn at random; None: no resume.
    """
    if resume is None:
        return
    checkpoint = find_latest_checkpoint(config.work_dir) if resume == 'auto' else resume
    if checkpoint is not None:
        config.resume, config.load_from = True, checkpoint


def set_precision(config: Config, kind: str) -> None:
    """Sets mixed precision and, unless the model is sharded, convolutions channels last, which they then run quicker.

    Args:
        config: changed in place.
        kind: ``'fp16'`` with scaled losses, which needs an accelerator, or ``'bf16'``.

    Raises:
        ValueError: there is no such precision, or the model is sharded and ``kind`` is ``'fp16'``.
    """
    mixed = dict(fp16=dict(type='AmpOptimWrapper', loss_scale='dynamic'), bf16=dict(type='BFloat16OptimWrapper'))
    if kind not in mixed:
        raise ValueError(f'the precision is one of {", ".join(mixed)}, got {kind!r}')
    if kind == 'fp16' and config.get('runner_type') == 'ShardedRunner':
        raise ValueError('the scale of fp16 losses would differ between the processes of a sharded model; take bf16')
    config.optim_wrapper.update(mixed[kind])
    config.setdefault('channels_last', True)


def set_accumulation(config: Config, steps: int) -> None:
    """Lets one update take ``steps`` batches: as many updates as before, on as many times the clips.

    Whatever counts batches is multiplied: the loop's length, what happens at intervals, when the rate falls. One process and
    ``steps=8`` thus stand for eight processes.

    Args:
        config: of a loop that counts iterations; changed in place.
        steps: batches for an update.
    """
    if steps < 1 or 'max_iters' not in config.train_cfg:
        raise ValueError(
            'accumulating needs at least one batch for an update and a loop that counts iterations, '
            f'got {steps} and {dict(config.train_cfg)}'
        )
    config.optim_wrapper.accumulative_counts = steps
    for name in ('max_iters', 'val_interval', 'val_begin'):
        if name in config.train_cfg:
            config.train_cfg[name] *= steps
    schedulers = config.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        for name in ('begin', 'end', 'T_max', 'total_iters', 'step_size'):
            if name in scheduler:
                scheduler[name] *= steps
        if 'milestones' in scheduler:
            scheduler.milestones = [steps * milestone for milestone in scheduler.milestones]
    if 'base_batch_size' in config.get('auto_scale_lr', {}):  # of one process's batches, as the runner counts them
        config.auto_scale_lr.base_batch_size /= steps
    checkpoint = config.get('default_hooks', {}).get('checkpoint') or {}
    if not checkpoint.get('by_epoch', True) and 'interval' in checkpoint:
        checkpoint.interval *= steps


def make_runner(config: Config, trust: bool) -> VideoRunner | ShardedRunner:
    """The runner that ``runner_type`` of a config names, ``VideoRunner`` where it does not; see :attr:`VideoRunner.trust`."""
    runner = RUNNERS.build(config) if config.get('runner_type') else VideoRunner.from_cfg(config)
    if trust and not isinstance(runner, VideoRunner):
        raise CheckpointError(
            f'--trust is not for {config.runner_type}; write a checkpoint of plain tensors first, with '
            'tools/model_converters/publish_model.py'
        )
    runner.trust = trust
    return runner


def train(config: Config, trust: bool = False) -> Path:
    """Trains; returns the last checkpoint."""
    if config.get('load_from'):
        set_trained_options(config, config.load_from, trust)
    make_runner(config, trust).train()
    barrier()  # the first process may still be writing it
    return Path(find_latest_checkpoint(config.work_dir))


def set_trained_options(config: Config, filename: str, trust: bool = False) -> None:
    """Sets the options of the model that a checkpoint was trained with, unless the config states them.

    A missing file is left to the runner, which reports it.

    Args:
        config: changed in place.
        filename: the checkpoint.
        trust: see :attr:`VideoRunner.trust`.
    """
    if Path(filename).is_file():
        config.model = with_trained_options(config.model, Checkpoint.read(filename, trust=trust))


def set_fusion(config: Config, num_members: int, passes: Sequence[dict[str, Any]]) -> None:
    """Makes the config test several checkpoints of its model in several passes, fused.

    Args:
        config: changed in place; its test set then provides frames at their original size.
        num_members: number of checkpoints.
        passes: see :class:`VideoFusion`.
    """
    config.model = dict(type='VideoFusion', members=[config.model] * num_members, passes=list(passes))
    config.test_dataloader.dataset.test = dict(
        config.test_dataloader.dataset.get('test') or {}, short_edge=None, max_edge=None
    )


def fusion_passes(
    short_edges: Sequence[int | None], flip: bool, usual: int | None = None, max_edge: int | None = None
) -> list[dict[str, Any]]:
    """Test-time passes: one for each short edge and, with ``flip``, one for its mirror image.

    Args:
        short_edges: short edges in pixels; None keeps the size.
        flip: whether mirrored passes are added.
        usual: short edge of the config's test.
        max_edge: limit of the long edge of the config's test; it grows with the short edge.
    """

    def limit(edge: int | None) -> int | None:
        if edge is None or usual is None or max_edge is None:
            return max_edge
        return max(max_edge, round(max_edge * edge / usual))

    return [
        dict(short_edge=edge, max_edge=limit(edge), flip=mirrored)
        for edge in short_edges
        for mirrored in ((False, True) if flip else (False,))
    ]


TEST_EXCLUDES = (
    'runner_type',
    'strategy',
    'train_dataloader',
    'train_cfg',
    'optim_wrapper',
    'param_scheduler',
    'val_dataloader',
    'val_cfg',
    'val_evaluator',
)


def test(config: Config, checkpoints: str | Sequence[str], trust: bool = False) -> dict[str, float]:
    """Scores checkpoints on the test set of the config.

    Names, colours and ids of the classes come from the (first) checkpoint, if it contains them.

    Args:
        config: changed in place.
        checkpoints: one file; for a :class:`VideoFusion` one per member.
        trust: see :attr:`VideoRunner.trust`.
    """
    filenames = [checkpoints] if isinstance(checkpoints, str) else list(checkpoints)
    config.load_from, config.resume = None, False
    for name in TEST_EXCLUDES:
        config.pop(name, None)
    config.custom_hooks = [hook for hook in config.get('custom_hooks', []) if hook['type'] not in TRAINING_HOOKS]
    config.custom_hooks.append(dict(type='ClassCountHook'))
    loaded = [Checkpoint.read(filename, trust=trust) for filename in filenames]
    members = config.model.members if config.model.get('members') else [config.model]
    prepared = [with_checkpoint(member, checkpoint) for member, checkpoint in zip(members, loaded)]
    config.model = dict(config.model, members=prepared) if config.model.get('members') else prepared[0]
    runner = make_runner(config, trust)
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    for member, checkpoint in zip(getattr(model, 'members', [model]), loaded):
        load_weights(member, checkpoint)  # every stage must be in the checkpoint
    return runner.test()


def with_checkpoint(model: Config, checkpoint: Checkpoint) -> dict[str, Any]:
    """A model config with the trained options and the classes of a checkpoint."""
    result = with_trained_options(model, checkpoint)
    meta = checkpoint.meta.get('dataset_meta')
    return dict(result, dataset_meta=dict(meta)) if isinstance(meta, dict) and 'classes' in meta else result
