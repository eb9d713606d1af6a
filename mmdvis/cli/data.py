"""Commands for datasets."""

import sys
from collections.abc import Sequence

from mmdvis.cli.main import Commands, run_command

COMMANDS: Commands = {
    'check': ('mmdvis.cli.check_dataset', 'find damaged or contradictory annotations'),
    'browse': ('mmdvis.cli.browse_dataset', 'draw clips with their annotations'),
    'convert': ('mmdvis.cli.convert', 'convert an official release, or videos of a labelling tool'),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    return run_command('mmdvis data', 'Check, browse or convert a dataset.', COMMANDS, arguments)


if __name__ == '__main__':
    sys.exit(main())
