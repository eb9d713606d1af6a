"""Files that appear under their name only when they are complete."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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


def replace_path(source: Path, target: Path) -> Path:
    """Moves a finished file or folder to its place, replacing what is there; returns the target."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    os.replace(source, target)
    return target
