"""Lists the models that have names."""

import argparse
import sys
from collections.abc import Sequence

from prettytable import PrettyTable

from mmdvis.checkpoints.zoo import ModelEntry, find_entry, model_entries
from mmdvis.cli.exit_on_error import exit_on_error


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the models with their weights, scores and licences; returns the exit code."""
    parser = argparse.ArgumentParser(prog='mmdvis models', description=__doc__)
    parser.add_argument('name', nargs='?', help='model to describe; without it, all models are listed')
    args = parser.parse_args(arguments)
    with exit_on_error():
        entries = [find_entry(args.name)] if args.name else list(model_entries().values())
    if args.name:
        print('\n'.join(f'{title:<14} {value}' for title, value in details(entries[0]).items()))
        return 0
    table = PrettyTable(['model', 'weights', 'training data'])
    table.align = 'l'
    for entry in entries:
        table.add_row([entry.name, 'in the package' if entry.weights else '-', entry.data])
    print(table)
    return 0


def details(entry: ModelEntry) -> dict[str, object]:
    """Title -> value of everything that is known of a model."""
    return dict(
        name=entry.name,
        method=entry.collection,
        config=entry.config,
        weights=entry.weights or 'none are published with mmdvis; give a checkpoint with --weights',
        data=entry.data,
        licence=entry.licence or '-',
        score=entry.score or 'not measured',
    )


if __name__ == '__main__':
    sys.exit(main())
