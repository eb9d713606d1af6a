"""Ctrl-C, SIGTERM and SIGHUP end a program with one line, a conventional exit code and no temporary files."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import tiny_config
from helpers.commands import restore_interrupts

from mmdvis.cli.exit_on_error import TerminatedError, exit_on_error, signals_as_exceptions

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
WAITING = """
import sys, time
from mmdvis.cli.exit_on_error import exit_on_error
from mmdvis.io import atomic_write
with exit_on_error(), atomic_write(sys.argv[1]) as path:
    path.write_text('half')
    print('ready', flush=True)
    time.sleep(60)
"""


def interrupted(command, number, ready, **options):
    """Sends a signal to a process once it has printed ``ready``; returns its exit code and last lines."""
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen(command, preexec_fn=restore_interrupts, **pipes, **options)
    for line in process.stdout:
        if ready in line:
            break
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    return process.returncode, error


@pytest.mark.parametrize('number', CODES)
def test_a_signal_ends_with_a_line_and_no_temporary_files(tmp_path, number):
    command = [sys.executable, '-c', WAITING, str(tmp_path / 'out' / 'file.txt')]
    code, error = interrupted(command, number, 'ready')
    assert (code, error.strip()) == (CODES[number], 'interrupted')
    assert list((tmp_path / 'out').iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_training_ends_with_a_line(toy_root, tmp_path, number):
    path = tiny_config.write(tmp_path, 'minvis', toy_root, iters=500)
    train = 'import mmdvis.cli.train as t, sys; t.main(sys.argv[1:])'
    options = ['default_hooks.checkpoint.interval=2', 'train_dataloader.num_workers=1']
    options.append('train_dataloader.prefetch_factor=2')
    command = [sys.executable, '-c', train, str(path), '--work-dir', str(tmp_path / 'run'), '--cfg-options', *options]
    code, error = interrupted(command, number, 'Iter(train) [  5/', env=dict(os.environ, OMP_NUM_THREADS='1'))
    assert code == CODES[number] and error.strip().splitlines()[-1] == 'interrupted'
    assert 'Traceback' not in error and not list((tmp_path / 'run').glob('.part-*'))


def test_handlers_are_restored():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(TerminatedError), signals_as_exceptions():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


def test_ctrl_c_has_its_code(capsys):
    with pytest.raises(SystemExit) as caught, exit_on_error():
        raise KeyboardInterrupt
    assert caught.value.code == 130 and capsys.readouterr().err == 'interrupted\n'
