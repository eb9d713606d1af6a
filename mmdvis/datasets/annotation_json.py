"""Validated access to JSON annotation files.

The files are not trusted. Error messages contain the file and the location in it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdvis.errors import DataError
from mmdvis.io import natural_key

MAX_EDGE = 1 << 20  # pixels; larger values are mistakes
MAX_INTEGER = 1 << 63


class Entry:
    """Object of a JSON file.

    Attributes:
        value: The object.
        where: File and location in it, used as prefix of error messages.

    Raises:
        DataError: The value is not an object.
    """

    __slots__ = ('value', 'where')

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise DataError(f'{where} must be an object with keys, got {type_name(value)}: {str(value)[:60]}')
        self.value, self.where = value, where

    def part(self, key: str) -> Any:
        """Value of a field.

        Raises:
            DataError: The field is missing.
        """
        if key not in self.value:
            raise DataError(f'{self.where} lacks {key!r}; it has {", ".join(sorted(self.value)) or "nothing"}')
        return self.value[key]

    def size(self) -> tuple[int, int]:
        """``height`` and ``width`` in pixels.

        Raises:
            DataError: A field is missing or not an integer from 1 to ``MAX_EDGE``.
        """
        height, width = (self.integer(key, bounded=False) for key in ('height', 'width'))
        if not (1 <= height <= MAX_EDGE and 1 <= width <= MAX_EDGE):
            raise DataError(
                f"{self.where}: 'height' and 'width' must lie between 1 and {MAX_EDGE}, got {height} and {width}"
            )
        return height, width

    def integer(self, key: str, bounded: bool = True) -> int:
        """Value of an integer field.

        Args:
            key: Name of the field.
            bounded: Whether it must have at most 64 bits.

        Raises:
            DataError: The field is missing, not an integer, or too large.
        """
        value = self.part(key)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not (isinstance(value, int) or value.is_integer()):
            raise DataError(
                f'{self.where}: {key!r} must be an integer, got {value!r}'
                f'{" (a string)" if isinstance(value, str) else ""}'
            )
        if bounded and not -MAX_INTEGER < value < MAX_INTEGER:
            raise DataError(f'{self.where}: {key!r} must be an integer of at most 64 bits, got {str(value)[:60]}')
        return int(value)

    def flag(self, key: str, required: bool = False) -> bool:
        """Value of a boolean field (0, 1, false or true), False if the field is missing and not ``required``.

        Raises:
            DataError: The value is not boolean, or missing although it is required.
        """
        value = self.part(key) if required else self.value.get(key, 0)
        if not isinstance(value, (int, float)) or value not in (0, 1):
            raise DataError(f'{self.where}: {key!r} must be 0 or 1, got {value!r}')
        return bool(value)

    def text(self, key: str) -> str:
        """Value of a string field; an integer is converted to a string.

        Raises:
            DataError: The field is missing, or neither a string nor an integer.
        """
        value = self.part(key)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise DataError(f'{self.where}: {key!r} must be a string or an integer, got {value!r}')
        return str(value)

    def items(self, key: str) -> list[Any]:
        """Value of a list field.

        Raises:
            DataError: The field is missing or not a list.
        """
        value = self.part(key)
        if not isinstance(value, list):
            raise DataError(f'{self.where}: {key!r} must be a list, got {type_name(value)}')
        return value

    def entries(self, key: str, name: str, label: str | None = None) -> Iterator['Entry']:
        """Yield the objects of a list field.

        Args:
            key: Name of the field.
            name: Kind of the objects, for error messages.
            label: Key whose value identifies an object in error messages. If None or missing, its index is used.

        Raises:
            DataError: The field is not a list of objects.
        """
        for k, value in enumerate(self.items(key)):
            number = value[label] if label and isinstance(value, dict) and label in value else k
            yield Entry(value, f'{self.where}, {name} {number}')


def type_name(value: Any) -> str:
    """JSON type of a value, for error messages."""
    names = {dict: 'object', list: 'list', str: 'string', bool: 'boolean', int: 'number', float: 'number'}
    return names.get(type(value), 'null')


def parse_json(data: bytes, path: Path) -> Entry:
    """Parse the content of a JSON file.

    Args:
        data: Content of the file.
        path: Path of the file, for error messages.

    Raises:
        DataError: The content is not valid JSON, or not an object.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f'{path} is not valid JSON ({error}); is it cut off? Download it again') from None
    return Entry(content, str(path))


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        DataError: The file is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        reason = (
            f'{path} is a link to {path.readlink()}, which does not exist'
            if path.is_symlink()
            else f'there is no file {path}'
        )
        raise DataError(f'{reason}; see data/README.md for where to download it') from None
    except OSError as error:
        raise DataError(f'{path} cannot be read ({error.strerror})') from None


def list_folder(folder: Path, suffixes: tuple = ()) -> list[str]:
    """List the names in a folder in natural order, without hidden files.

    Args:
        folder: The folder.
        suffixes: Lower-case suffixes of the files to list; all files and folders if empty.

    Raises:
        DataError: The folder is missing, not a folder, or cannot be read.
    """
    try:
        names = [path.name for path in folder.iterdir() if not path.name.startswith('.')]
    except FileNotFoundError:
        if folder.is_symlink():
            raise DataError(f'{folder} is a link to {folder.readlink()}, which does not exist; fix the link') from None
        raise DataError(f'there is no folder {folder}; see data/README.md for where to download it') from None
    except OSError as error:
        raise DataError(f'the folder {folder} cannot be read ({error.strerror})') from None
    return sorted((name for name in names if not suffixes or Path(name).suffix.lower() in suffixes), key=natural_key)


def has_annotations(content: Entry) -> bool:
    """Whether a JSON file contains annotations; the files of test splits do not."""
    return bool(content.value.get('annotations'))
