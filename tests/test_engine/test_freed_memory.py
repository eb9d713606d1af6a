"""Training on a CPU reuses freed memory instead of returning it to the operating system."""

import os
import platform
import subprocess
import sys

import pytest

from mmdvis.cli import train as command
from mmdvis.engine import freed_memory
from mmdvis.engine.freed_memory import keep_freed_memory

CODE = """
import resource, runpy, sys
keep_freed_memory = runpy.run_path(sys.argv[1])['keep_freed_memory']
import torch

def page_faults():
    for _ in range(4):
        torch.zeros(1 << 24).sum()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.zeros(1 << 24).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(page_faults(), keep_freed_memory(), page_faults())
"""


def keeping_memory():
    """Return the page faults of four 64 MiB tensors before ``keep_freed_memory``, its result, and those after it."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(('MALLOC_', 'GLIBC_'))}
    command = [sys.executable, '-c', CODE, freed_memory.__file__]  # the file alone imports in less time
    returned, kept, reused = subprocess.check_output(command, env=variables, text=True).split()
    return int(returned), kept == 'True', int(reused)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc has these settings')
def test_kept_memory_is_used_again():
    returned, is_kept, reused = keeping_memory()
    assert is_kept and reused < returned / 5


def test_settings_of_the_user_remain(monkeypatch):
    monkeypatch.setenv('MALLOC_TRIM_THRESHOLD_', '131072')
    assert keep_freed_memory() is False


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
