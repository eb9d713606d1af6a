"""Functions that prepare configs and start training and testing for the command line tools."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import barrier, init_dist, is_distributed
from mmengine.logging import print_log
from torch import nn

from mmdvis.checkpoints import Checkpoint, load_weights, read_checkpoint, with_trained_options
from mmdvis.engine.unwrap_model import unwrap_model
from mmdvis.errors import CheckpointError
from mmdvis.registry import RUNNERS

from .runner import VideoRunner
from .sharded import ShardedRunner
from .time_limits import group_timeout, limit_waiting, report_hanging
from .work_folder import check_resumable, check_same_run, checkpoints_in, claim_folder, latest_checkpoint, training_lock

TRAINING_HOOKS = ('CheckpointLoadingHook', 'ClassCountHook', 'EarlyStoppingHook')


def load_config(
    path: str, work_dir: str | None = None, options: dict[str, Any] | None = None, launcher: str = 'none'
) -> Config:
    """Loads a config and applies the overrides of the command line.

    Args:
        path: Path of the config file.
        work_dir: Folder for logs and checkpoints; None uses the ``work_dir`` of the config, or
            ``work_dirs/<name of the config>`` if the config has none.
        options: Overrides from ``--cfg-options``.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        ValueError: If a distributed run without CUDA uses another launcher than ``'pytorch'``.
    """
    config = Config.fromfile(path)
    config.merge_from_dict(options or {})
    config.launcher = launcher
    config.work_dir = work_dir or config.get('work_dir') or str(Path('work_dirs') / Path(path).stem)
    if launcher != 'none' and not is_distributed():  # before the runner, as folders are locked and checked before it
        if torch.cuda.is_available():
            init_dist(launcher, **(config.get('env_cfg') or {}).get('dist_cfg', {}))
        else:
            start_cpu_group(config)
    use_float32_on_cpu(config)
    limit_waiting(config)
    return config


def use_float32_on_cpu(config: Config) -> None:
    """Replaces fp16 mixed precision by float32 if there is no accelerator, because fp16 needs one for its loss scaling.

    Args:
        config: Config, modified in place.
    """
    wrapper = config.get('optim_wrapper') or {}
    if wrapper.get('type') == 'AmpOptimWrapper' and get_device() == 'cpu':
        print_log('no accelerator is available, so the run uses float32 instead of fp16 mixed precision', 'current')
        wrapper['type'] = 'OptimWrapper'
        wrapper.pop('loss_scale', None)


def start_cpu_group(config: Config) -> None:
    """Initialises a gloo process group and configures the model wrapper for the CPU; mmengine requires CUDA for both.

    Args:
        config: Config, modified in place.

    Raises:
        ValueError: If the launcher is not ``'pytorch'``.
    """
    if config.launcher != 'pytorch':
        raise ValueError(
            f"without CUDA the launcher must be 'pytorch' (torchrun), got {config.launcher!r}; "
            'use tools/dist_train.sh or tools/dist_test.sh'
        )
    if not dist.is_initialized():
        os.environ.setdefault('LOCAL_RANK', '0')
        dist.init_process_group('gloo', timeout=group_timeout(config))
    wrapper = dict(type='MMDistributedDataParallel', broadcast_buffers=False, **(config.get('model_wrapper_cfg') or {}))
    config.model_wrapper_cfg = dict(wrapper, device_ids=None)


def set_resume(config: Config, resume: str | None, anyway: bool = False, trust: bool = False) -> None:
    """Configures the checkpoint to resume from.

    Args:
        config: Config, modified in place.
        resume: Checkpoint file; ``'auto'`` selects the last usable checkpoint in the work folder. If it has none,
            ``load_from`` of the config is kept, so that a later stage does not start from randomly initialised weights.
            None does not resume.
        anyway: Whether to resume although the number of processes differs or the state of the optimizer is missing.
        trust: See :attr:`VideoRunner.trust`.

    Raises:
        CheckpointError: If the checkpoint cannot be resumed, or differs and ``anyway`` is not set.
        FileNotFoundError: If there is no such file.
    """
    if resume is None:
        return
    if resume == 'auto':
        found = latest_checkpoint(config.work_dir, trust)
    else:
        found = Path(resume), read_checkpoint(resume, trust=trust)
        check_resumable(found[1], resume)
    if found is not None:
        path, content = found
        check_same_run(content, path, anyway)
        config.resume, config.load_from = True, str(path)


def set_precision(config: Config, kind: str) -> None:
    """Enables mixed precision and the channels-last memory layout, which makes its convolutions faster.

    Args:
        config: Config, modified in place. An existing ``channels_last`` entry is kept; sharded models ignore it.
        kind: ``'fp16'``, with loss scaling and only on accelerators, or ``'bf16'``.

    Raises:
        ValueError: If the precision is unknown, or if it is ``'fp16'`` and the model is sharded.
    """
    mixed = dict(fp16=dict(type='AmpOptimWrapper', loss_scale='dynamic'), bf16=dict(type='BFloat16OptimWrapper'))
    if kind not in mixed:
        raise ValueError(f'the precision must be one of {", ".join(mixed)}, got {kind!r}')
    config.optim_wrapper.update(mixed[kind])
    config.setdefault('channels_last', True)
    check_sharded_precision(config)


def check_sharded_precision(config: Config) -> None:
    """Raises a ValueError if a sharded model would be trained in fp16."""
    wrapper = config.get('optim_wrapper') or {}
    if config.get('runner_type') == 'ShardedRunner' and wrapper.get('type') == 'AmpOptimWrapper':
        raise ValueError('a sharded model cannot use fp16, as its processes would use different loss scales; use bf16')


def set_accumulation(config: Config, steps: int) -> None:
    """Accumulates the gradients of ``steps`` batches per update and keeps the number of updates.

    All settings that count batches are multiplied by ``steps``: the number of iterations, the validation and checkpoint
    intervals, and the learning rate schedule. One process with ``steps=8`` thus corresponds to eight processes.

    Args:
        config: Config with an iteration-based training loop, modified in place.
        steps: Number of batches per update.

    Raises:
        ValueError: If ``steps`` is not positive or the training loop counts epochs.
    """
    if steps < 1 or 'max_iters' not in config.train_cfg:
        raise ValueError(
            'gradient accumulation needs at least one batch per update and a training loop with max_iters, '
            f'got {steps} and {dict(config.train_cfg)}'
        )
    config.optim_wrapper.accumulative_counts = steps
    for name in ('max_iters', 'val_interval', 'val_begin'):
        if name in config.train_cfg:
            config.train_cfg[name] *= steps
    schedulers = config.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        scale_schedule(scheduler, steps)
    if 'base_batch_size' in config.get('auto_scale_lr', {}):  # the runner does not count accumulated batches
        config.auto_scale_lr.base_batch_size /= steps
    checkpoint = config.get('default_hooks', {}).get('checkpoint') or {}
    if not checkpoint.get('by_epoch', True) and 'interval' in checkpoint:
        checkpoint.interval *= steps


def scale_schedule(scheduler: ConfigDict, factor: float) -> None:
    """Multiplies all numbers of iterations of a scheduler by a factor and rounds them.

    Args:
        scheduler: Config of the scheduler, modified in place.
        factor: The factor.
    """
    for name in ('begin', 'end', 'T_max', 'total_iters', 'step_size'):
        if name in scheduler:
            scheduler[name] = round(factor * scheduler[name])
    if 'milestones' in scheduler:
        scheduler.milestones = [round(factor * milestone) for milestone in scheduler.milestones]


def set_iterations(config: Config, iters: int) -> None:
    """Changes the number of iterations and stretches the schedule; a warm-up at its start keeps its length.

    Args:
        config: Config with an iteration-based training loop, modified in place.
        iters: New number of iterations.
    """
    before = config.train_cfg.max_iters
    schedulers = config.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        is_warm_up = scheduler.get('begin', 0) == 0 and scheduler.get('end', before) < before
        if not is_warm_up:
            scale_schedule(scheduler, iters / before)
    config.train_cfg.max_iters = iters


def make_runner(config: Config, trust: bool) -> VideoRunner | ShardedRunner:
    """Builds the runner of a config.

    Args:
        config: Config; without a ``runner_type``, a :class:`VideoRunner` is built.
        trust: See :attr:`VideoRunner.trust`.

    Raises:
        CheckpointError: If ``trust`` is set and the config has a ``runner_type``.
        ValueError: If a sharded model would be trained in fp16.
    """
    check_runner(config, trust)
    if config.get('runner_type'):
        return RUNNERS.build(config)
    runner = VideoRunner.from_cfg(config)
    runner.trust = trust
    return runner


def check_runner(config: Config, trust: bool) -> None:
    """Checks options that the runner of a config does not support; see :func:`make_runner`."""
    check_sharded_precision(config)
    if trust and config.get('runner_type'):
        raise CheckpointError(
            f'{config.runner_type} does not support --trust; first convert the checkpoint to plain tensors with '
            'tools/model_converters/publish_model.py --trust'
        )


def train(config: Config, trust: bool = False, overwrite: bool = False) -> Path:
    """Trains the model of a config.

    Args:
        config: Config, modified in place.
        trust: See :attr:`VideoRunner.trust`.
        overwrite: Whether to delete the checkpoints of an earlier run in the work folder, if the run is not resumed.

    Returns:
        Path of the last checkpoint.

    Raises:
        OptionError: If another training uses the work folder, or if it contains checkpoints and neither ``overwrite``
            nor ``resume`` of the config is set.
        NonFiniteError: If a loss or gradient is not finite.
        HungProcessError: If a process or data loader worker has not answered within the time limit.
    """
    check_runner(config, trust)  # before any checkpoint is read
    with report_hanging(config), training_lock(config.work_dir):
        if config.get('resume') and not config.get('load_from'):
            set_resume(config, 'auto', trust=trust)
        elif not config.get('resume'):
            claim_folder(config.work_dir, overwrite)
            barrier()  # the other processes have looked at the folder before the first checkpoint is saved
        if config.get('load_from'):
            set_trained_options(config, config.load_from, trust)
        make_runner(config, trust).train()
        barrier()  # wait until the main process has written the last checkpoint
        paths = checkpoints_in(config.work_dir)
        return paths[0] if paths else Path(config.load_from)  # a finished run writes nothing


def set_trained_options(config: Config, filename: str, trust: bool = False) -> None:
    """Sets the model options that a checkpoint was trained with, unless the config sets them.

    Only local files are read here. The runner reports a missing file.

    Args:
        config: Config, modified in place.
        filename: Path of the checkpoint.
        trust: See :attr:`VideoRunner.trust`.
    """
    if Path(filename).is_file():
        config.model = with_trained_options(config.model, Checkpoint.read(filename, trust=trust))


def set_fusion(config: Config, num_members: int, passes: Sequence[dict[str, Any]]) -> None:
    """Configures test-time fusion of several checkpoints of the model and several passes.

    Args:
        config: Config, modified in place. Its test set then provides frames at their original size.
        num_members: Number of checkpoints.
        passes: See :class:`VideoFusion`.
    """
    config.model = dict(type='VideoFusion', members=[config.model] * num_members, passes=list(passes))
    config.test_dataloader.dataset.test = dict(
        config.test_dataloader.dataset.get('test') or {}, short_edge=None, max_edge=None
    )


def fusion_passes(
    short_edges: Sequence[int | None], flip: bool, usual: int | None = None, max_edge: int | None = None
) -> list[dict[str, Any]]:
    """Test-time passes: one per short edge and, with ``flip``, one with horizontally flipped frames.

    Args:
        short_edges: Short edges in pixels; None keeps the original size.
        flip: Whether to add flipped passes.
        usual: Short edge of the test pipeline of the config; None if unknown.
        max_edge: Limit of the long edge in the test pipeline of the config; it is scaled up for passes with a short
            edge above ``usual``. None does not limit the long edge.

    Returns:
        Arguments of :func:`transform_frames` for each pass.
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


def test(
    config: Config,
    checkpoints: str | Sequence[str],
    trust: bool = False,
    prepare: Callable[[nn.Module], nn.Module] | None = None,
) -> dict[str, float]:
    """Evaluates checkpoints on the test set of the config.

    Names, colours and ids of the classes are read from the first checkpoint if it contains them.

    Args:
        config: Config, modified in place.
        checkpoints: Path of a checkpoint; for a :class:`VideoFusion` one path per member.
        trust: See :attr:`VideoRunner.trust`.
        prepare: Applied to the model, or to each member, once its weights are loaded, e.g. ``optimize_for_inference``;
            its result is evaluated.

    Returns:
        Metric name -> value.
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
    model = unwrap_model(runner.model)
    for member, checkpoint in zip(getattr(model, 'members', [model]), loaded):
        load_weights(member, checkpoint)  # requires all stages of the model in the checkpoint
    if prepare is not None:  # its result needs no wrapper, because testing synchronises nothing
        model.eval()
        runner.model = model.map_members(prepare) if hasattr(model, 'members') else prepare(model)
    with report_hanging(config):
        return runner.test()


def with_checkpoint(model: Config, checkpoint: Checkpoint) -> dict[str, Any]:
    """A copy of a model config with the trained options and the class information of a checkpoint."""
    result = with_trained_options(model, checkpoint)
    meta = checkpoint.meta.get('dataset_meta')
    return dict(result, dataset_meta=dict(meta)) if isinstance(meta, dict) and 'classes' in meta else result
