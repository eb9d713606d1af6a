"""Files that appear under their name only when they are complete."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

LOCK, REPLACED = '.lock', '.replaced'  # in the folder of a running process: its lock, and what it has replaced


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of ``path``; what is written to it is moved to ``path`` at the end.

    If the body raises, or writes nothing, ``path`` stays as it is and the temporary file is removed.

    Args:
        path: the file; its folder is created.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='.part-', dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        if temporary.exists():
            os.replace(temporary, path)


def write_json(path: str | Path, content: Any, indent: int | None = None) -> Path:
    """Writes a JSON file that appears only when it is complete; returns its path.

    Args:
        path: the file; its folder is created.
        content: the content.
        indent: spaces of indentation; None for one line.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent))
    return Path(path)


def replace_together(work: Path, folder: Path) -> dict[str, Path]:
    """Moves the finished files and folders of a work folder into a folder, replacing what is there.

    If one cannot be moved, none is. What is replaced is first moved into the work folder, so that a later
    :func:`work_folder` can move it back if the process is killed in between.

    Args:
        work: Folder with the files, made by :func:`work_folder`; hidden files are not moved.
        folder: Folder to move them to.

    Returns:
        Name -> new path of each.

    Raises:
        OSError: A file could not be moved; the folder is as it was before.
    """
    names = sorted(path.name for path in work.iterdir() if not path.name.startswith('.'))
    replaced = work / REPLACED
    replaced.mkdir()
    try:
        for name in names:
            if os.path.lexists(folder / name):
                os.replace(folder / name, replaced / name)
            os.replace(work / name, folder / name)
    except BaseException:
        for name in names:
            if not os.path.lexists(work / name):
                os.replace(folder / name, work / name)
        move_back(work, folder)
        raise
    replaced.rename(work / f'{REPLACED}-complete')
    return {name: folder / name for name in names}


def move_back(work: Path, folder: Path) -> None:
    """Moves what an unfinished :func:`replace_together` has replaced back to its place."""
    replaced = work / REPLACED
    for path in sorted(replaced.iterdir()) if replaced.is_dir() else ():
        target = folder / path.name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        os.replace(path, target)


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder inside ``folder``, and removes it at the end.

    Folders that were left behind by killed processes are removed first, after what they had replaced was moved back.
    The folder of a running process is recognised by its lock.

    Args:
        folder: Existing folder.
    """
    for path in sorted(folder.glob('.part-*')):
        lock = FileLock(path / LOCK)
        if (path / LOCK).is_file() and is_free(lock):
            with lock:
                move_back(path, folder)
                shutil.rmtree(path, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix='.part-', dir=folder))
    try:
        with FileLock(work / LOCK):
            yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def is_free(lock: FileLock) -> bool:
    """Whether no process holds a lock."""
    try:
        with lock.acquire(timeout=0):
            return True
    except (Timeout, OSError):
        return False
