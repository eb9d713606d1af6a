"""Run the tools of the repository in this process or in subprocesses."""

import importlib.util
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / 'tests' / 'data'
LIBRARIES = [
    'mmdvis',
    'torch',
    'mmengine.runner',
    'mmdet.structures.mask',
    'scipy.optimize',
    'cv2',
    'matplotlib.pyplot',
]
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


def call(*command, fails=False, processes=False, fresh=False):
    """Run a tool from the root of the repository and return its stdout and stderr.

    ``fails``: a non-zero exit code is expected. ``processes``: the tool starts several processes and needs a free port.
    ``fresh``: a script runs in a new interpreter. Otherwise, it runs in a fork of a process that has imported the
    libraries and nothing of this project but its first module.
    """
    command = [str(part) for part in command]
    is_script = command[0].endswith('.py')
    if is_script and not (fresh or processes):
        code, text = fork(command)
    else:
        environment = dict(ENVIRONMENT, PORT=str(free_port())) if processes else ENVIRONMENT
        done = subprocess.run(
            [sys.executable if is_script else 'bash', *command],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        code, text = done.returncode, done.stdout
    assert (code != 0) == fails, text[-3000:]
    return text


def fork(command):
    """Run a script in a fork of the server of multiprocessing; return its exit code and what it printed."""
    server = multiprocessing.get_context('forkserver')
    server.set_forkserver_preload(LIBRARIES)
    with tempfile.NamedTemporaryFile() as printed:
        process = server.Process(target=run_as_main, args=(command, printed.name))
        process.start()
        process.join()
        return process.exitcode, Path(printed.name).read_text()


def run_as_main(command, printed):
    """Run a script as the interpreter would, and write what it prints to a file."""
    with open(printed, 'w') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(ROOT)
    os.environ.update(ENVIRONMENT)
    sys.argv, sys.path[0] = command, str(Path(command[0]).parent.absolute())
    runpy.run_path(command[0], run_name='__main__')


def restore_interrupts():
    """Let SIGINT interrupt a child process (``preexec_fn``); shells make background jobs ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
