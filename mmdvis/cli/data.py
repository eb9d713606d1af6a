"""Commands for datasets."""

import sys
from collections.abc import Sequence

from mmdvis.cli.main import Commands, run_command

COMMANDS: Commands = {
    'check': ('mmdvis.cli.check_dataset', 'find damaged or contradictory annotations'),
    'browse': ('mmdvis.cli.browse_dataset', 'draw clips with their annotations'),
    'init': ('mmdvis.cli.init_config', 'write configs that train a model on a dataset'),
    'export': ('mmdvis.cli.export_labels', 'write results for a labelling tool, for correction'),
    'convert': ('mmdvis.cli.convert', 'convert an official release, or videos of a labelling tool'),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    return run_command(
        'mmdvis data', 'Check, browse, convert or export a dataset, or write a config for it.', COMMANDS, arguments
    )


if __name__ == '__main__':
    sys.exit(main())
