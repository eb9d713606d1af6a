"""Reads official json files, in which anything may be wrong; every complaint says where."""

import json
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdvis.errors import DataError
from mmdvis.io import natural_key


class Entry:
    """One object of a json file.

    Attributes:
        value: the object.
        where: file and place, the beginning of every message.

    Raises:
        DataError: it is no object.
    """

    __slots__ = ('value', 'where')

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise DataError(f'{where} must be an object with keys, got a {type_name(value)}: {str(value)[:60]}')
        self.value, self.where = value, where

    def part(self, key: str) -> Any:
        """``value[key]``; raises DataError where it is missing."""
        if key not in self.value:
            raise DataError(f'{self.where} lacks {key!r}; it has {", ".join(sorted(self.value)) or "nothing"}')
        return self.value[key]

    def integer(self, key: str) -> int:
        """A whole number."""
        value = self.part(key)
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
            or value != int(value)
        ):
            raise DataError(
                f'{self.where}: {key!r} must be a whole number, got {value!r}'
                f'{" (a text)" if isinstance(value, str) else ""}'
            )
        return int(value)

    def flag(self, key: str) -> bool:
        """Yes or no: 1, 0, true, false; no where it is missing."""
        value = self.value.get(key, 0)
        if not isinstance(value, (int, float)) or value not in (0, 1):
            raise DataError(f'{self.where}: {key!r} must be 0 or 1, got {value!r}')
        return bool(value)

    def text(self, key: str) -> str:
        """A text; of a number, its digits."""
        value = self.part(key)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise DataError(f'{self.where}: {key!r} must be a text or a whole number, got {value!r}')
        return str(value)

    def items(self, key: str) -> list[Any]:
        """A list."""
        value = self.part(key)
        if not isinstance(value, list):
            raise DataError(f'{self.where}: {key!r} must be a list, got a {type_name(value)}')
        return value

    def entries(self, key: str, name: str, label: str | None = None) -> Iterator['Entry']:
        """The objects of a list; in messages each is called ``name`` with its ``label`` (a key) or its number."""
        for k, value in enumerate(self.items(key)):
            number = value[label] if label and isinstance(value, dict) and label in value else k
            yield Entry(value, f'{self.where}, {name} {number}')


def type_name(value: Any) -> str:
    """What json calls the type of a value."""
    names = {dict: 'object', list: 'list', str: 'text', bool: 'truth value', int: 'number', float: 'number'}
    return names.get(type(value), 'null')


def parse_json(data: bytes, path: Path) -> Entry:
    """The object that a json file holds.

    Raises:
        DataError: it is cut off or damaged, or holds no object.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path} is no valid json ({error}); is it cut off? Fetch it again') from None
    return Entry(content, str(path))


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: it is missing or may not be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        link = (
            f'{path} is a link to {path.readlink()}, which is not there'
            if path.is_symlink()
            else f'there is no file {path}'
        )
        raise DataError(f'{link}; data/README.md says where it comes from') from None
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error.strerror})') from None


def list_folder(folder: Path, suffixes: tuple = ()) -> list[str]:
    """Names in a folder without dot files, sorted as time is; ``suffixes``: only such files.

    Raises:
        DataError: it is missing, no folder, or may not be read.
    """
    try:
        names = [path.name for path in folder.iterdir() if not path.name.startswith('.')]
    except FileNotFoundError:
        if folder.is_symlink():
            raise DataError(f'{folder} is a link to {folder.readlink()}, which is not there; mend the link') from None
        raise DataError(f'there is no folder {folder}; data/README.md says where it comes from') from None
    except OSError as error:
        raise DataError(f'the folder {folder} cannot be read ({error.strerror})') from None
    return sorted((name for name in names if not suffixes or Path(name).suffix.lower() in suffixes), key=natural_key)


def write_json(path: Path, content: Any) -> Path:
    """Writes a json file to a temporary name, then renames it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{os.getpid()}-{threading.get_ident()}-{path.name}')
    try:
        temporary.write_text(json.dumps(content))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def has_annotations(content: Entry) -> bool:
    """Whether a json says what is in its frames; those of test splits do not."""
    return bool(content.value.get('annotations'))
