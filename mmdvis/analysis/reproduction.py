"""Rows of published figures: the commands that make them, and whether a new run agrees with them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.stats import t as student

from mmdvis.errors import OptionError

MARK = re.compile(r'<!-- figures: ([\w -]+) -->')
NUMBER = re.compile(r'(?<![\w.])\d+\.\d+(?![\w.])')
NO_FIGURES = 'none'  # mark of tables with numbers that were not measured


@dataclass(frozen=True)
class Value:
    """One figure of a row.

    Attributes:
        at: Keys and indices that lead to it in the JSON file of the row.
        per: The same for a number that it is divided by, for ratios; empty for none.
        runs: Its values in earlier runs, in percent if ``percent``.
        within: Largest difference to their mean that is expected; None computes it from their spread.
        percent: Whether the JSON file has a fraction and ``runs`` are percent.
    """

    at: tuple[Any, ...]
    runs: tuple[float, ...]
    per: tuple[Any, ...] = ()
    within: float | None = None
    percent: bool = False

    @property
    def expected(self) -> float:
        """Mean of the earlier runs."""
        return float(np.mean(self.runs))

    @property
    def tolerance(self) -> float:
        """Half the width of the interval in which another run lies with a probability of 95 % (Student's t)."""
        if self.within is not None:
            return self.within
        number = len(self.runs)
        factor = float(student.ppf(0.975, number - 1)) * (1 + 1 / number) ** 0.5
        return factor * float(np.std(self.runs, ddof=1))

    def read(self, content: Any) -> float:
        """The figure in the content of a JSON file; raises OptionError if it is not there."""
        value = follow(content, self.at)
        if self.per:
            divisor = follow(content, self.per)
            if not divisor:
                raise OptionError(f'the entry {" / ".join(map(str, self.per))} of the result must not be zero')
            value /= divisor
        return 100 * value if self.percent else value

    def agrees(self, value: float) -> bool:
        """Whether a new value is inside the noise."""
        return abs(value - self.expected) <= self.tolerance


@dataclass(frozen=True)
class Figures:
    """A row of figures.

    Attributes:
        title: What is measured.
        steps: Commands, one after the other; ``{out}`` is an empty folder.
        result: JSON file that they write, relative to ``{out}``.
        values: Name -> figure.
        hardware: Where the earlier runs were made.
        seconds: Duration there.
        commit: Commit of the earlier runs.
    """

    title: str
    steps: tuple[str, ...]
    result: str
    values: dict[str, Value]
    hardware: str
    seconds: float
    commit: str
    environment: dict[str, str] = field(default_factory=dict)


def follow(content: Any, path: tuple[Any, ...]) -> float:
    """The number at a path of keys and indices; raises OptionError if there is none."""
    value = content
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            raise OptionError(f'the result has no entry {" / ".join(map(str, path))}; {key} is missing') from None
    if type(value) not in (int, float):
        place = ' / '.join(map(str, path))
        raise OptionError(f'the entry {place} of the result must be a number, got {str(value)[:60]}')
    return float(value)


def read_figures(path: Path) -> dict[str, Figures]:
    """Reads the rows of a YAML file; their fields are those of :class:`Figures` and :class:`Value`.

    Raises:
        OptionError: The file is missing or malformed, or a value has too few runs to know its spread.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
        return {str(name): figures_of(row, f'{path}, row {name}') for name, row in content.items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError) as error:
        raise OptionError(f'{path} cannot be read as rows of figures: {error}') from None


def figures_of(row: Mapping[str, Any], where: str) -> Figures:
    """A row from its fields; raises OptionError if they are wrong."""
    try:
        values = {
            name: Value(**{key: tuple(x) if isinstance(x, list) else x for key, x in value.items()})
            for name, value in row['values'].items()
        }
        figures = Figures(**{**row, 'steps': tuple(row['steps']), 'values': values})
    except (TypeError, KeyError, AttributeError) as error:
        raise OptionError(f'{where}: {error}') from None
    for name, value in values.items():
        if not isinstance(value.runs, tuple) or not isinstance(value.at, tuple):
            raise OptionError(f'{where}, {name}: at and runs must be lists')
        if not value.runs or (len(value.runs) < 2 and value.within is None):
            raise OptionError(f'{where}, {name}: at least two runs are needed to know the spread, or set within')
    return figures


@dataclass(frozen=True)
class MarkedTable:
    """A table of a document.

    Attributes:
        line: Number of its first line.
        mark: Name in the comment ``<!-- figures: NAME -->`` before it; None without one.
        numbers: Decimal numbers in it.
    """

    line: int
    mark: str | None
    numbers: tuple[str, ...]


def tables_of(text: str) -> list[MarkedTable]:
    """The tables of a Markdown text that contain decimal numbers."""
    lines, found, k = text.splitlines(), [], 0
    while k < len(lines):
        if not lines[k].startswith('|'):
            k += 1
            continue
        start = k
        while k < len(lines) and lines[k].startswith('|'):
            k += 1
        numbers = NUMBER.findall('\n'.join(lines[start:k]))
        if numbers:
            before = [match for line in lines[max(0, start - 2) : start] if (match := MARK.fullmatch(line.strip()))]
            found.append(MarkedTable(start + 1, before[-1][1] if before else None, tuple(numbers)))
    return found


def compare(figures: Figures, result: Path) -> list[tuple[str, float, float, float, bool]]:
    """Name, new value, expected value, tolerance, and whether they agree, of each figure.

    Args:
        figures: The row.
        result: JSON file of the new run.

    Raises:
        OptionError: The file is missing or has no such figure.
    """
    if not figures.values:
        return []  # the commands fail by themselves
    if not result.is_file():
        raise OptionError(f'the commands of this row did not write {result}')
    content = json.loads(result.read_text())
    rows = []
    for name, value in figures.values.items():
        new = value.read(content)
        rows.append((name, new, value.expected, value.tolerance, value.agrees(new)))
    return rows
