"""Validated access to official JSON files.

The files are not trusted: invalid entries are reported with file, frame and id.
"""

import json
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from mmdvis.errors import BadInputError
from mmdvis.evaluation.functional.frame_table import MAX_COLOUR


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        BadInputError: The file does not exist, is truncated or is malformed.
    """
    if not path.is_file():
        raise BadInputError(f'there is no file {path}')
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise BadInputError(f'{path} is not valid JSON ({error}); is it cut off?') from None
    except RecursionError:
        raise BadInputError(f'{path} is nested too deeply; write it again in its official format') from None


def read_entry(entry: Any, key: str, where: str | Path) -> Any:
    """``entry[key]``.

    Args:
        entry: Object of a JSON file.
        key: Name of the field.
        where: Location, for error messages.

    Raises:
        BadInputError: ``entry`` is not an object or lacks the field.
    """
    if not isinstance(entry, dict) or key not in entry:
        content = (
            ', '.join(sorted(map(str, entry)))
            if isinstance(entry, dict)
            else f'a {type(entry).__name__}: {str(entry)[:60]}'
        )
        raise BadInputError(f'{where} lacks {key!r}; it has {content}')
    return entry[key]


def read_list_field(entry: Any, key: str, where: str | Path) -> list[Any]:
    """``entry[key]``, which must be a list; see :func:`read_entry`."""
    value = read_entry(entry, key, where)
    if not isinstance(value, list):
        raise BadInputError(f'{where}: {key!r} must be a list, got a {type(value).__name__}')
    return value


def read_number(entry: Any, key: str, where: str | Path) -> float:
    """``entry[key]``, which must be a number; see :func:`read_entry`."""
    value = read_entry(entry, key, where)
    if not isinstance(value, Real) or isinstance(value, bool) or value != value:
        raise BadInputError(f'{where}: {key!r} must be a number, got {value!r}')
    return value


def read_integer(entry: Any, key: str, where: str | Path) -> int:
    """``entry[key]``, which must be an integer; see :func:`read_entry`."""
    value = read_number(entry, key, where)
    if value in (float('inf'), float('-inf')) or value != int(value):
        raise BadInputError(f'{where}: {key!r} must be an integer, got {value!r}')
    return int(value)


def read_text(entry: Any, key: str, where: str | Path) -> str:
    """``entry[key]`` as a string; an integer is converted. See :func:`read_entry`."""
    value = read_entry(entry, key, where)
    if not isinstance(value, (str, int)):
        raise BadInputError(f'{where}: {key!r} must be a string or an integer, got {value!r}')
    return str(value)


def read_flag(entry: Any, key: str, where: str | Path, default: bool | None = None) -> bool:
    """``entry[key]``, which must be true, false, 1 or 0; see :func:`read_entry`.

    Args:
        entry: Object of a JSON file.
        key: Name of the field.
        where: Location, for error messages.
        default: Value of a missing field; None requires the field.
    """
    if default is not None and isinstance(entry, dict) and key not in entry:
        return default
    value = read_entry(entry, key, where)
    if value not in (0, 1) or not isinstance(value, (bool, int)):
        raise BadInputError(f'{where}: {key!r} must be true, false, 1 or 0, got {value!r}')
    return bool(value)


def read_segments(frame: Any, where: str) -> list[dict[str, Any]]:
    """``segments_info`` of a frame with ``id``, ``category_id``, ``area`` (None if not stated) and ``iscrowd``."""
    segments = []
    for segment in read_list_field(frame, 'segments_info', where):
        location = f'{where}, segment {segment.get("id") if isinstance(segment, dict) else segment}'
        area = (
            read_integer(segment, 'area', location)
            if isinstance(segment, dict) and segment.get('area') is not None
            else None
        )
        number = read_integer(segment, 'id', location)
        if not 0 <= number < MAX_COLOUR:
            raise BadInputError(f"{location}: 'id' must be from 0 to {MAX_COLOUR - 1}, as a PNG stores it")
        segments.append(
            dict(
                id=number,
                category_id=read_integer(segment, 'category_id', location),
                area=area,
                iscrowd=read_flag(segment, 'iscrowd', location, default=False),
            )
        )
    return segments


def read_annotations(content: Any, path: Path) -> Sequence[Any]:
    """Annotations of a ground-truth file.

    Args:
        content: Content of the JSON file.
        path: Path of the file, for error messages.

    Raises:
        BadInputError: There are no annotations, as in the JSON file of a test split.
    """
    annotations = (
        content.get('annotations') if isinstance(content, dict) else read_list_field(content, 'annotations', path)
    )
    if not annotations or not isinstance(annotations, list):
        raise BadInputError(
            f'{path} contains no annotations, so there is nothing to score against; '
            'predictions of this split can only be written for submission'
        )
    return annotations
