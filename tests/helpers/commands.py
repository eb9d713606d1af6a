"""Run the tools of the repository in this process or in subprocesses."""

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / 'tests' / 'data'
ENVIRONMENT = dict(
    os.environ,
    OMP_NUM_THREADS='1',
    PYTHON=sys.executable,
    PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]),
    PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ['PATH']]),
)


def free_port():
    """Return a free TCP port on this machine."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def call(*command, fails=False, processes=False):
    """Run a tool from the root of the repository and return its stdout and stderr.

    ``fails``: a non-zero exit code is expected. ``processes``: the tool starts several processes and needs a free port.
    """
    start = [sys.executable] if str(command[0]).endswith('.py') else ['bash']
    environment = dict(ENVIRONMENT, PORT=str(free_port())) if processes else ENVIRONMENT
    done = subprocess.run(
        [*start, *map(str, command)],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert (done.returncode != 0) == fails, done.stdout[-3000:]
    return done.stdout


def load(path):
    """Import the script at ``path`` as a module."""
    spec = importlib.util.spec_from_file_location(f'tool_{Path(path).stem}', ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def count_calls(monkeypatch, module, name):
    """Record the arguments of every call of a function of a module; return the list of calls."""
    calls, original = [], getattr(module, name)

    def recorded(*arguments, **options):
        calls.append(arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, recorded)
    return calls


def named(windows):
    """Return the windows by metric name, and the names that are averaged."""
    return {f'VPQ{k}': k for k in windows}, [f'VPQ{k}' for k in windows]
