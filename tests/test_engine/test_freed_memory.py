"""Training on a CPU reuses freed memory instead of returning it to the operating system."""

import os
import platform
import subprocess
import sys

import pytest
from helpers.commands import ROOT

from mmdvis.cli import train as command
from mmdvis.engine.freed_memory import keep_freed_memory

CODE = """
import resource, sys, torch
from mmdvis.engine.freed_memory import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == 'kept' else False)
torch.zeros(1 << 24).sum(), torch.zeros(1 << 24).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.zeros(1 << 24).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode, **environment):
    """Whether memory is kept, and page faults of four tensors of 64 MiB, with all pages allocated before."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(('MALLOC_', 'GLIBC_'))}
    command = [sys.executable, '-c', CODE, mode]
    printed = subprocess.check_output(command, cwd=ROOT, env=dict(variables, **environment), text=True)
    kept, faults = printed.split()
    return kept == 'True', int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc has these settings')
def test_kept_memory_is_used_again():
    is_kept, faults = page_faults('kept')
    assert is_kept and faults < page_faults('returned')[1] / 5
    assert page_faults('kept', MALLOC_TRIM_THRESHOLD_='131072')[0] is False  # a user's own settings stay


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr('platform.libc_ver', lambda: ('', ''))
    assert keep_freed_memory() is False


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_only_training_on_a_cpu_keeps_memory(monkeypatch, device):
    calls = []
    for name in ('set_local_rank', 'load_config', 'set_resume', 'train'):
        monkeypatch.setattr(command, name, lambda *args: None)
    monkeypatch.setattr(command, 'get_device', lambda: device)
    monkeypatch.setattr(command, 'keep_freed_memory', lambda: calls.append(1))
    command.main(['config.py'])
    assert len(calls) == (device == 'cpu')
