"""Reads official json files, which may be anything, entry by entry; what does not fit is named by file, frame and id."""

import json
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from mmdvis.errors import BadInputError


def read_json(path: Path) -> Any:
    """The contents of a json file.

    Raises:
        BadInputError: there is no such file, or it is cut off or damaged.
    """
    if not path.is_file():
        raise BadInputError(f'there is no file {path}')
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise BadInputError(f'{path} is no valid json ({error}); is it cut off?') from None


def read_entry(entry: Any, key: str, where: str | Path) -> Any:
    """``entry[key]``; raises BadInputError where ``entry`` is no object or lacks it."""
    if not isinstance(entry, dict) or key not in entry:
        has = (
            ', '.join(sorted(map(str, entry)))
            if isinstance(entry, dict)
            else f'a {type(entry).__name__}: {str(entry)[:60]}'
        )
        raise BadInputError(f'{where} lacks {key!r}; it has {has}')
    return entry[key]


def read_list_field(entry: Any, key: str, where: str | Path) -> list[Any]:
    """``entry[key]``, which must be a list."""
    found = read_entry(entry, key, where)
    if not isinstance(found, list):
        raise BadInputError(f'{where}: {key!r} must be a list, got a {type(found).__name__}')
    return found


def read_number(entry: Any, key: str, where: str | Path) -> float:
    """``entry[key]``, which must be a number."""
    value = read_entry(entry, key, where)
    if not isinstance(value, Real) or isinstance(value, bool) or value != value:
        raise BadInputError(f'{where}: {key!r} must be a number, got {value!r}')
    return value


def read_integer(entry: Any, key: str, where: str | Path) -> int:
    """``entry[key]``, which must be a whole number."""
    value = read_number(entry, key, where)
    if value != int(value):
        raise BadInputError(f'{where}: {key!r} must be a whole number, got {value!r}')
    return int(value)


def read_text(entry: Any, key: str, where: str | Path) -> str:
    """``entry[key]`` as text; a number is taken as its digits."""
    value = read_entry(entry, key, where)
    if not isinstance(value, (str, int)):
        raise BadInputError(f'{where}: {key!r} must be a text or a whole number, got {value!r}')
    return str(value)


def read_segments(frame: Any, where: str) -> list[dict[str, Any]]:
    """``segments_info`` of a frame with ``id``, ``category_id``, ``area`` (None where it is not said) and ``iscrowd``."""
    found = []
    for segment in read_list_field(frame, 'segments_info', where):
        place = f'{where}, segment {segment.get("id") if isinstance(segment, dict) else segment}'
        area = (
            read_integer(segment, 'area', place)
            if isinstance(segment, dict) and segment.get('area') is not None
            else None
        )
        found.append(
            dict(
                id=read_integer(segment, 'id', place),
                category_id=read_integer(segment, 'category_id', place),
                area=area,
                iscrowd=bool(segment.get('iscrowd', 0)),
            )
        )
    return found


def read_annotations(content: Any, path: Path) -> Sequence[Any]:
    """The annotations of a ground truth.

    Raises:
        BadInputError: there are none, as in the json of a test split.
    """
    found = content.get('annotations') if isinstance(content, dict) else read_list_field(content, 'annotations', path)
    if not found or not isinstance(found, list):
        raise BadInputError(
            f'{path} holds no annotations, so there is nothing to score against; '
            'predictions of this split can only be written for submission'
        )
    return found
