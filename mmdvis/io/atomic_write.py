"""Files that appear under their name only when they are complete."""

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


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


def replace_together(sources: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Moves finished files and folders into a folder, replacing what is there; if one cannot be moved, none is.

    Args:
        sources: Files and folders on the same file system.
        folder: Existing folder to move them to.

    Returns:
        Name -> new path of each.

    Raises:
        OSError: A file could not be moved; the folder is as it was before.
    """
    targets = {source.name: folder / source.name for source in sources}
    with tempfile.TemporaryDirectory(prefix='.part-', dir=folder, ignore_cleanup_errors=True) as name:
        aside = Path(name)
        try:
            for source in sources:
                if os.path.lexists(targets[source.name]):
                    os.replace(targets[source.name], aside / source.name)
                os.replace(source, targets[source.name])
        except BaseException:
            for source in sources:
                if not os.path.lexists(source):
                    os.replace(targets[source.name], source)
                if os.path.lexists(aside / source.name):
                    os.replace(aside / source.name, targets[source.name])
            raise
    return targets


@contextmanager
def work_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder inside ``folder``, and removes it at the end.

    Folders that were left behind by killed processes of this machine are removed first.

    Args:
        folder: Existing folder.
    """
    host = socket.gethostname()
    for path in folder.glob(f'.part-{host}-*-*'):
        number = path.name.rsplit('-', 2)[1]
        if number.isdecimal() and not is_running(int(number)):
            shutil.rmtree(path, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f'.part-{host}-{os.getpid()}-', dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def is_running(number: int) -> bool:
    """Whether there is a process with a number on this machine."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user, or a number that no process can have
        return True
    return True
