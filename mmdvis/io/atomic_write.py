"""Files that appear under their name only when they are complete."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
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


def replace_path(source: Path, target: Path) -> Path:
    """Moves a finished file or folder to its place, replacing what is there; returns the target."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    os.replace(source, target)
    return target
