"""Writes the page of the command line, ``docs/en/cli.md``, from the help texts of all commands."""

import argparse
import contextlib
import importlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from mmdvis.cli.main import COMMANDS, Commands, main

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'en' / 'cli.md'
WIDTH = '100'
SCORES = ('vpq', 'stq', 'pq', 'vss', 'vis')  # parsers of their own


def help_text(words: list[str]) -> str:
    """Help text of a command."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main([*words, '--help'])
    return text.getvalue().strip()


def all_commands(commands: Commands, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Words of all commands; groups come before their commands."""
    for name, (module, _) in commands.items():
        yield (*words, name)
        if name == 'score':
            yield from ((name, task) for task in SCORES)
        yield from all_commands(getattr(importlib.import_module(module), 'COMMANDS', {}), (*words, name))


def page() -> str:
    """Text of the page."""
    os.environ['COLUMNS'], sys.argv[0] = WIDTH, 'mmdvis'
    parts = [f'# Command line\n\n```text\n{main_help()}\n```\n']
    for words in all_commands(COMMANDS):
        parts.append(
            f'{"##" + "#" * (len(words) > 1)} mmdvis {" ".join(words)}\n\n```text\n{help_text([*words])}\n```\n'
        )
    return '\n'.join(parts)


def main_help() -> str:
    """Help text of the program."""
    return help_text([])


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=PAGE, help='path of the page')
    return parser.parse_args()


if __name__ == '__main__':
    parse_args().out.write_text(page())
