"""Python text of configs."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WIDTH = 120


@dataclass(frozen=True)
class Expression:
    """Python code that stands in a config as it is, such as the name of a variable."""

    text: str


def code(value: Any) -> str:
    """A value as Python code, with dicts as calls of ``dict`` where their keys are names or ``**variable``."""
    if isinstance(value, Mapping):
        if all(str(key).removeprefix('**').isidentifier() for key in value):
            return f'dict({", ".join(argument(key, item) for key, item in value.items())})'
        return f'{{{", ".join(f"{key!r}: {code(item)}" for key, item in value.items())}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(code, value))}]'
    if isinstance(value, tuple):
        return f'({", ".join(map(code, value))}{"," if len(value) == 1 else ""})'
    return value.text if isinstance(value, Expression) else repr(value)


def argument(name: str, value: Any) -> str:
    """An argument of a call; the value of ``**variable`` is not used."""
    return name if name.startswith('**') else f'{name}={code(value)}'


def assignment(name: str, value: Any, indent: int = 0) -> str:
    """``name = value``; items of dicts and lists stand on lines of their own where one line would be too long.

    Args:
        name: Name of a variable, or of an argument if it is indented.
        value: Numbers, strings, lists, tuples, dicts and :class:`Expression`.
        indent: Number of blanks in front.
    """
    if name.startswith('**'):
        return ' ' * indent + name
    start = f'{" " * indent}{name}{"=" if indent else " = "}'
    if len(start + code(value)) < WIDTH or not isinstance(value, (Mapping, list)) or code(value)[0] == '{':
        return start + code(value)
    if isinstance(value, Mapping):
        inner = [f'{assignment(str(key), item, indent + 4)},' for key, item in value.items()]
        return '\n'.join([f'{start}dict(', *inner, f'{" " * indent})'])
    return '\n'.join([f'{start}[', *(f'{" " * indent}    {code(item)},' for item in value), f'{" " * indent}]'])


def comment(text: str) -> str:
    """A comment of as many lines as it needs."""
    return '\n'.join(textwrap.wrap(text, WIDTH - 1, initial_indent='# ', subsequent_indent='#   '))
