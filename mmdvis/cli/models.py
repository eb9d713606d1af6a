"""Lists the models that have names."""

import argparse
import sys
from collections.abc import Sequence

from prettytable import PrettyTable

from mmdvis.checkpoints.zoo import DEFAULT, ModelEntry, find_entry, model_entries
from mmdvis.cli.exit_on_error import exit_on_error


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the models with their weights, scores and licences; returns the exit code."""
    parser = argparse.ArgumentParser(prog='mmdvis models', description=__doc__)
    parser.add_argument('name', nargs='?', help='model to describe; without it, the models with weights are listed')
    parser.add_argument('--all', action='store_true', help='list also the recipes without weights')
    args = parser.parse_args(arguments)
    with exit_on_error():
        entries = [find_entry(args.name)] if args.name else list(model_entries().values())
    if args.name:
        print('\n'.join(f'{title:<12} {value}' for title, value in details(entries[0]).items()))
        return 0
    table = PrettyTable(['model', 'task', 'classes', 'parameters', 'weights', 'licence', 'published', 'measured here'])
    table.align = 'l'
    for entry in entries:
        if args.all or entry.licence is not None:
            table.add_row([text or '-' for text in row(entry)])
    print(table)
    print(f'default: {DEFAULT}; `mmdvis models NAME` shows the training data, the config and how it was verified')
    return 0


def place(entry: ModelEntry) -> str:
    """Where the weights of a model are."""
    if entry.embedded is not None:
        return 'in the package'
    if entry.weights is not None:
        return 'downloaded'
    if entry.origin is None:
        return 'none'
    return f'download from {entry.origin.project}' if entry.origin.weights else 'fetch by hand'


def row(entry: ModelEntry) -> list[str | None]:
    """The row of a model."""
    classes = None if entry.num_classes is None else str(entry.num_classes)
    figures = (entry.published, entry.score)
    return [entry.name, entry.task, classes, entry.parameters, place(entry), entry.licence, *figures]


def details(entry: ModelEntry) -> dict[str, object]:
    """Title -> value of everything that is known of a model."""
    known = dict(
        name=entry.name,
        method=entry.collection,
        task=entry.task,
        classes=entry.num_classes,
        parameters=entry.parameters,
        config=entry.config,
        weights=entry.weights or place(entry),
        data=entry.data,
        licence=entry.licence,
        published=entry.published,
        measured=entry.score or 'not measured here',
        verified=entry.verified,
    )
    if entry.origin is not None:
        hashed = f' ({entry.origin.hash_kind} begins with {entry.origin.hash_start})' if entry.origin.hash_start else ''
        known.update(address=(entry.origin.weights or f'{entry.origin.file}, by hand') + hashed, page=entry.origin.page)
    return {title: value for title, value in known.items() if value}


if __name__ == '__main__':
    sys.exit(main())
