"""Runs that are killed at every iteration and in every save, and resumed, end as the unbroken run, bit for bit.

A run takes place in forked processes, which kill themselves with SIGKILL at a given place.
"""

import multiprocessing
import os
import signal
import socket
import traceback

import numpy as np
import pytest
import torch
from helpers import tiny_config

from mmdvis.checkpoints import read_checkpoint
from mmdvis.engine import VideoTrainLoop
from mmdvis.engine.hooks import safe_checkpoint
from mmdvis.engine.launch import load_config, set_accumulation, set_precision, set_resume, train

ITERS = 6
BEFORE = dict(minvis=None, online='minvis', offline='online')
MODES = ('plain', 'bf16', 'accumulate', 'two processes')


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(place, number):
    """Patches this process so that it kills itself in the n-th iteration, or after writing the n-th checkpoint."""
    if place == 'iteration':
        run_iter = VideoTrainLoop.run_iter
        VideoTrainLoop.run_iter = lambda loop, batch: die() if loop._iter == number else run_iter(loop, batch)
    else:
        publish = safe_checkpoint.publish

        def half(source, target):
            if target.name == f'iter_{number}.pth':
                content = source.read_bytes()
                source.write_bytes(content[: len(content) // 2])
                die()
            publish(source, target)

        safe_checkpoint.publish = half


def run(folder, stage, mode, data, load_from, resume, death, environment):
    """Trains in this process, which ends here."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    code = 0
    try:
        if death:
            kill_at(*death)
        path = tiny_config.write(folder, stage, data, iters=ITERS, load_from=load_from)
        settings = {
            'default_hooks.checkpoint.interval': 1,
            'default_hooks.checkpoint.max_keep_ckpts': 2,
            'train_dataloader.dataset.augment.flip': 0.5,
            'train_dataloader.batch_size': 1,
        }
        config = load_config(str(path), str(folder), settings, 'pytorch' if environment else 'none')
        if mode == 'bf16':
            set_precision(config, 'bf16')
        if mode == 'accumulate':
            set_accumulation(config, 2)
        if resume:
            set_resume(config, 'auto')
        train(config)
    except BaseException:
        traceback.print_exc()
        code = 1
    os._exit(code)


def start(folder, stage, mode, data, load_from=None, resume=False, death=None):
    """Runs a training in one or two processes; returns their exit codes. If one dies, the other is killed."""
    environments = [{}]
    if mode == 'two processes':
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = free.getsockname()[1]
        common = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE='2')
        environments = [dict(common, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in (0, 1)]
    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(target=run, args=(folder, stage, mode, data, load_from, resume, death, environment))
        for environment in environments
    ]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        for process in processes:
            process.join(0.05)
        if any(process.exitcode not in (None, 0) for process in processes):
            for process in processes:
                process.kill()
    return [process.exitcode for process in processes]


def history(checkpoint):
    """Everything that the run has logged, except times and memory."""
    scalars = checkpoint['message_hub']['log_scalars']
    return {
        name: np.asarray(buffer._log_history)
        for name, buffer in scalars.items()
        if not any(word in name for word in ('time', 'memory'))
    }


@pytest.fixture(scope='module')
def starts(tmp_path_factory, toy_root):
    """Checkpoint that each stage starts from."""
    found, load_from = {}, None
    for stage in BEFORE:
        found[stage] = load_from
        folder = tmp_path_factory.mktemp(stage)
        assert start(folder, stage, 'plain', toy_root, load_from) == [0]
        load_from = folder / f'iter_{ITERS}.pth'
    return found


@pytest.mark.slow
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('stage', BEFORE)
def test_a_killed_run_is_the_unbroken_run(stage, mode, starts, toy_root, tmp_path):
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    for folder in (whole, broken):
        folder.mkdir()
    arguments = (stage, mode, toy_root, starts[stage])
    assert set(start(whole, *arguments)) == {0}
    saves = range(2, 2 * ITERS + 1, 2) if mode == 'accumulate' else range(1, ITERS + 1)
    for number in saves:  # the process dies in the iteration after a save, and then in the next save
        for death in (('iteration', number - 1), ('save', number)):
            assert -signal.SIGKILL in start(broken, *arguments, resume=True, death=death), death
    assert set(start(broken, *arguments, resume=True)) == {0}
    first, second = (read_checkpoint(folder / f'iter_{saves[-1]}.pth') for folder in (whole, broken))
    for name, value in first['state_dict'].items():
        assert torch.equal(value, second['state_dict'][name]), name
    for key, state in first['optimizer']['state'].items():
        for name, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(second['optimizer']['state'][key][name]))
    logged, logged_again = history(first), history(second)
    assert logged.keys() == logged_again.keys() and 'train/loss' in logged
    for name, values in logged.items():
        assert np.array_equal(values, logged_again[name], equal_nan=True), name
