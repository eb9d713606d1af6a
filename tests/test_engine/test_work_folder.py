"""Work folders always hold a checkpoint that loads, and belong to one training at a time."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import tiny_config
from mmengine.config import Config

from mmdvis.checkpoints import read_checkpoint
from mmdvis.engine.hooks import safe_checkpoint
from mmdvis.engine.launch import load_config, set_resume, train
from mmdvis.engine.work_folder import (
    OWNER_NAME,
    best_checkpoint,
    checkpoints_in,
    claim_folder,
    latest_checkpoint,
    training_lock,
)
from mmdvis.errors import CheckpointError, OptionError

TRAIN = 'import mmdvis.cli.train as t, sys; t.main(sys.argv[1:])'


@pytest.fixture(scope='module')
def finished(tmp_path_factory, toy_root):
    """Work folder of a run of three iterations that keeps its last two checkpoints."""
    folder = tmp_path_factory.mktemp('finished')
    train(settings(folder, toy_root))
    return folder


def settings(folder, toy_root, iters=3, **options):
    path = tiny_config.write(folder, 'minvis', toy_root, iters=iters)
    keep = {'default_hooks.checkpoint.interval': 1, 'default_hooks.checkpoint.max_keep_ckpts': 2}
    return load_config(str(path), str(folder), {**keep, **options})


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of the work folder, as if it had been moved."""
    return Path(shutil.copytree(finished, tmp_path / 'moved'))


def names(folder):
    return [path.name for path in checkpoints_in(folder)]


def test_the_last_checkpoints_are_kept(finished):
    assert names(finished) == ['iter_3.pth', 'iter_2.pth']
    assert Path((finished / 'last_checkpoint').read_text()).name == 'iter_3.pth'
    assert not list(finished.glob('.part-*')) and not (finished / OWNER_NAME).exists()
    assert read_checkpoint(finished / 'iter_3.pth')['meta']['num_processes'] == 1


@pytest.mark.parametrize('pointer', [None, '', '/elsewhere/iter_9.pth'])
def test_the_pointer_file_does_not_matter(folder, pointer):
    (folder / 'last_checkpoint').unlink()
    if pointer is not None:
        (folder / 'last_checkpoint').write_text(pointer)
    assert latest_checkpoint(folder)[0] == folder / 'iter_3.pth'


def test_numbers_are_compared_not_letters(tmp_path):
    for number in (900, 1000, 20):
        (tmp_path / f'iter_{number}.pth').touch()
    (tmp_path / 'iter_best.pth').touch()
    assert names(tmp_path) == ['iter_1000.pth', 'iter_900.pth', 'iter_20.pth']


def test_no_checkpoint_is_none(tmp_path):
    assert latest_checkpoint(tmp_path) is None and latest_checkpoint(tmp_path / 'absent') is None


@pytest.mark.parametrize('damage', ['torn', 'empty', 'flipped', 'nan', 'published'])
def test_a_damaged_newest_checkpoint_is_left_out(folder, damage):
    path = folder / 'iter_3.pth'
    content = path.read_bytes()
    if damage == 'torn':
        path.write_bytes(content[: len(content) // 2])
    elif damage == 'empty':
        path.write_bytes(b'')
    elif damage == 'flipped':
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        loaded = read_checkpoint(path)
        if damage == 'nan':
            next(iter(loaded['state_dict'].values())).view(-1)[0] = float('nan')
        torch.save(loaded if damage == 'nan' else dict(state_dict=loaded['state_dict'], meta={}), path)
    assert latest_checkpoint(folder)[0] == folder / 'iter_2.pth'


def test_only_damaged_checkpoints_are_an_error(folder):
    for path in checkpoints_in(folder):
        path.write_bytes(b'torn')
    with pytest.raises(CheckpointError, match='none of the 2 checkpoints in .* can be resumed'):
        latest_checkpoint(folder)


def test_a_run_over_checkpoints_is_refused(folder, toy_root):
    with pytest.raises(OptionError, match=r'already contains 2 checkpoints of a run, up to iter_3.pth; .*--overwrite'):
        train(settings(folder, toy_root, iters=1))
    assert names(folder) == ['iter_3.pth', 'iter_2.pth']
    claim_folder(folder, overwrite=True)
    assert names(folder) == [] and not (folder / 'last_checkpoint').exists()


def test_a_finished_run_names_its_checkpoint(folder, toy_root, tmp_path):
    config = settings(folder, toy_root)
    set_resume(config, 'auto')
    assert train(config) == folder / 'iter_3.pth'
    other = settings(folder, toy_root)
    other.work_dir = str(tmp_path / 'other')
    set_resume(other, str(folder / 'iter_3.pth'))
    assert train(other) == folder / 'iter_3.pth'


def test_a_checkpoint_without_a_run_is_refused(folder, toy_root):
    loaded = read_checkpoint(folder / 'iter_3.pth')
    torch.save(dict(state_dict=loaded['state_dict'], meta=dict(switches={})), folder / 'published.pth')
    with pytest.raises(CheckpointError, match='published.pth holds weights but not the state of a training run'):
        set_resume(settings(folder, toy_root), str(folder / 'published.pth'))


@pytest.mark.parametrize(
    'change, message', [('optimizer', 'no state of the optimizer'), ('processes', 'saved by 8 processes and this .* 1')]
)
def test_another_run_needs_a_word(folder, toy_root, change, message):
    loaded = read_checkpoint(folder / 'iter_2.pth')
    if change == 'optimizer':
        del loaded['optimizer']
    else:
        loaded['meta']['num_processes'] = 8
    torch.save(loaded, folder / 'iter_9.pth')
    config = settings(folder, toy_root)
    with pytest.raises(CheckpointError, match=f'{message}.*--resume-anyway'):
        set_resume(config, str(folder / 'iter_9.pth'))
    assert not config.resume
    set_resume(config, str(folder / 'iter_9.pth'), anyway=True)
    assert config.resume


@pytest.mark.parametrize('entry', ['optimizer', 'message_hub', 'param_schedulers'])
def test_a_state_of_another_config_is_named(folder, toy_root, entry):
    loaded = read_checkpoint(folder / 'iter_2.pth')
    loaded[entry] = dict(wrong=1)
    torch.save(loaded, folder / 'iter_2.pth')
    config = settings(folder, toy_root)
    set_resume(config, str(folder / 'iter_2.pth'))
    with pytest.raises(CheckpointError, match=r'iter_2.pth cannot be resumed, because the state .* does not fit'):
        train(config)


def test_one_training_per_folder(tmp_path):
    with training_lock(tmp_path):
        code = (
            f'from mmdvis.engine.work_folder import training_lock\nwith training_lock({str(tmp_path)!r}): print("held")'
        )
        second = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
        assert 'held' not in second.stdout
        assert f'is in use by another training (process {os.getpid()} on ' in second.stderr
        assert json.loads((tmp_path / OWNER_NAME).read_text())['pid'] == os.getpid()
    with training_lock(tmp_path):
        pass


def test_a_lock_of_a_crashed_training_is_taken_over(tmp_path):
    code = (
        'import os\nfrom mmdvis.engine.work_folder import training_lock\n'
        f'with training_lock({str(tmp_path)!r}): os.kill(os.getpid(), 9)'
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True).returncode == -signal.SIGKILL
    assert (tmp_path / OWNER_NAME).exists()
    with training_lock(tmp_path):
        pass
    assert not (tmp_path / OWNER_NAME).exists()


class FailingSave:
    """Fails when the n-th checkpoint is written, after some of its bytes."""

    def __init__(self, number, error):
        self.number, self.error, self.calls, self.save = number, error, 0, torch.save

    def __call__(self, content, file, *args, **options):
        self.calls += 1
        if self.calls == self.number:
            file.write(b'PK')
            raise self.error
        return self.save(content, file, *args, **options)


@pytest.mark.parametrize('place', ['serialise', 'write', 'fsync', 'rename', 'pointer'])
@pytest.mark.parametrize('error', [OSError(errno.ENOSPC, 'No space left on device'), KeyboardInterrupt()])
def test_a_failure_while_saving_keeps_the_last_checkpoint(toy_root, tmp_path, monkeypatch, place, error):
    """The third of three checkpoints fails, with a limit of one checkpoint."""
    from mmengine.fileio import LocalBackend

    calls = []

    def failing(plain, per_save=1, partly=None):
        def call(*args, **options):
            calls.append(1)
            if len(calls) == 2 * per_save + 1:
                if partly:
                    partly(*args)
                raise error
            return plain(*args, **options)

        return call

    config = settings(tmp_path, toy_root, **{'default_hooks.checkpoint.max_keep_ckpts': 1})
    if place == 'serialise':
        monkeypatch.setattr(torch, 'save', FailingSave(3, error))
    elif place == 'write':
        cut = lambda backend, content, path: Path(path).write_bytes(content[:100])
        monkeypatch.setattr(LocalBackend, 'put', failing(LocalBackend.put, partly=cut))
    elif place == 'fsync':
        monkeypatch.setattr(safe_checkpoint.os, 'fsync', failing(os.fsync))
    elif place == 'rename':
        monkeypatch.setattr(safe_checkpoint, 'publish', failing(safe_checkpoint.publish))
    else:
        monkeypatch.setattr(safe_checkpoint.SafeCheckpointHook, 'point_to_last', failing(lambda *args: None))
    with pytest.raises(type(error)):
        train(config)
    monkeypatch.undo()
    expected = 'iter_3.pth' if place == 'pointer' else 'iter_2.pth'
    assert latest_checkpoint(tmp_path)[0] == tmp_path / expected
    assert not list(tmp_path.glob('.part-*.pth'))
    config = settings(tmp_path, toy_root)
    set_resume(config, 'auto')
    assert train(config) == tmp_path / 'iter_3.pth'


def best_settings(folder, toy_root, iters, **options):
    """A run that validates after each iteration and keeps the best checkpoint by a figure that grows."""
    config = settings(folder, toy_root, iters=iters, **options)
    config.val_dataloader, config.val_evaluator = config.test_dataloader, config.test_evaluator
    config.val_cfg, config.train_cfg.val_interval = dict(type='ValLoop'), 1
    config.default_hooks.checkpoint.update(save_best='VPQ', rule='less')
    return config


@pytest.mark.slow
def test_of_several_best_checkpoints_the_newest_is_taken(tmp_path):
    assert best_checkpoint(tmp_path) is None
    for name, seconds in (('best_VPQ_iter_20.pth', 200), ('best_VPQ_iter_100.pth', 300), ('best_AP_iter_50.pth', 100)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (seconds, seconds))
    (tmp_path / 'iter_200.pth').touch()
    assert best_checkpoint(tmp_path) == tmp_path / 'best_VPQ_iter_100.pth'


def test_the_best_checkpoint_is_replaced_when_the_next_is_complete(toy_root, tmp_path, monkeypatch):
    """The figures 3, 2, 1 with the rule that less is better: every checkpoint is the best so far."""
    from mmdvis.evaluation.metrics import VPQMetric

    figures = iter([3.0, 2.0, 1.0, 0.5])
    monkeypatch.setattr(VPQMetric, 'compute_metrics', lambda metric, results: dict(VPQ=next(figures)))
    first = tmp_path / 'first'
    first.mkdir()
    train(best_settings(first, toy_root, 2))
    assert [path.name for path in first.glob('best_*')] == ['best_VPQ_iter_2.pth']
    second = Path(shutil.copytree(first, tmp_path / 'second'))
    config = best_settings(second, toy_root, 3)
    set_resume(config, 'auto')
    train(config)
    assert [path.name for path in second.glob('best_*')] == ['best_VPQ_iter_3.pth']
    assert [path.name for path in first.glob('best_*')] == ['best_VPQ_iter_2.pth']  # that of the other folder stays
    failing = best_settings(second, toy_root, 4)
    set_resume(failing, 'auto')
    publish = safe_checkpoint.publish

    def full(source, target):
        if target.name.startswith('best'):
            raise OSError(errno.ENOSPC, 'No space left on device')
        publish(source, target)

    monkeypatch.setattr(safe_checkpoint, 'publish', full)
    with pytest.raises(OSError, match='No space left'):
        train(failing)
    assert [path.name for path in second.glob('*best_*')] == ['best_VPQ_iter_3.pth']
    assert read_checkpoint(second / 'best_VPQ_iter_3.pth')


def test_unfinished_files_are_removed_at_the_start(folder, toy_root):
    (folder / '.part-iter_4.pth').write_bytes(b'half')
    config = settings(folder, toy_root, iters=4)
    set_resume(config, 'auto')
    assert train(config) == folder / 'iter_4.pth'
    assert not list(folder.glob('.part-*'))


def start(folder, toy_root, *options):
    """Starts a training of six iterations in another process; returns it."""
    path = tiny_config.write(folder, 'minvis', toy_root, iters=6)
    overrides = ['default_hooks.checkpoint.interval=1', 'default_hooks.checkpoint.max_keep_ckpts=2']
    command = [sys.executable, '-c', TRAIN, str(path), '--work-dir', str(folder), *options, '--cfg-options', *overrides]
    environment = dict(os.environ, OMP_NUM_THREADS='1')
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_is_the_unbroken_run(toy_root, tmp_path):
    """SIGKILL after each checkpoint and while files are being written; the resumed run ends with the same bits."""
    whole, broken = tmp_path / 'whole', tmp_path / 'broken'
    for folder in (whole, broken):
        folder.mkdir()
    assert start(whole, toy_root).wait() == 0
    kills = 0
    for iteration in range(1, 6):
        process = start(broken, toy_root, '--resume')
        part, target = broken / f'.part-iter_{iteration + 1}.pth', broken / f'iter_{iteration}.pth'
        while process.poll() is None:  # even numbers: in the middle of the next save, if it can be caught
            if target.exists() if iteration % 2 else part.exists():
                process.kill()
                kills += 1
                break
            time.sleep(0.001)
        process.communicate()
        assert latest_checkpoint(broken) is not None
    assert start(broken, toy_root, '--resume').wait() == 0 and kills >= 4
    first, second = (read_checkpoint(folder / 'iter_6.pth') for folder in (whole, broken))
    assert all(torch.equal(value, second['state_dict'][name]) for name, value in first['state_dict'].items())
    for key, state in first['optimizer']['state'].items():
        for name, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(second['optimizer']['state'][key][name]))


def test_every_recipe_saves_safely():
    from helpers.commands import ROOT

    config = Config.fromfile(ROOT / 'configs/toy/minvis_r18_1xb8-t1_toy.py')
    assert config.default_hooks.checkpoint.type == 'SafeCheckpointHook'
    assert config.train_cfg.type == 'VideoTrainLoop'


def test_trust_reaches_the_last_checkpoint(folder, toy_root):
    for path in checkpoints_in(folder):
        torch.save(dict(read_checkpoint(path), extra=Foreign()), path)
    with pytest.raises(CheckpointError, match='can be resumed; the newest: .* was not loaded'):
        set_resume(settings(folder, toy_root), 'auto')
    config = settings(folder, toy_root)
    set_resume(config, 'auto', trust=True)
    assert config.load_from == str(folder / 'iter_3.pth')


class Foreign:
    """An object that is only unpickled if the file is trusted."""


def test_processes_know_each_other_before_the_folder_is_checked(toy_root, tmp_path, monkeypatch):
    """On GPUs, mmengine would start the group in its runner, after the lock and the check of the processes."""
    from mmdvis.engine import launch

    started = []
    monkeypatch.setattr(launch.torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(launch, 'init_dist', lambda launcher, **options: started.append((launcher, options)))
    path = tiny_config.write(tmp_path, 'minvis', toy_root)
    load_config(str(path), str(tmp_path), launcher='pytorch')
    load_config(str(path), str(tmp_path), launcher='none')
    assert started == [('pytorch', dict(backend='nccl', timeout=1800))]
