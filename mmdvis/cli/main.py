"""The console command ``mmdvis``."""

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {  # name -> module and description; modules are imported only when their command is run
    'run': ('mmdvis.cli.run', 'segment videos, folders of frames or images'),
    'models': ('mmdvis.cli.models', 'list the models, or describe one'),
    'doctor': ('mmdvis.doctor', 'check the installation'),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: Words of the command line; None takes those of the process.

    Returns:
        Exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog='mmdvis',
        description='Video segmentation with the DVIS family.',
        epilog='commands:\n' + '\n'.join(f'  {name:<8} {text}' for name, (_, text) in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('command', choices=COMMANDS, metavar='command', help='see below; `mmdvis COMMAND --help`')
    parser.add_argument('options', nargs=argparse.REMAINDER, help='options of the command')
    args = parser.parse_args(words)
    return importlib.import_module(COMMANDS[args.command][0]).main(args.options)


if __name__ == '__main__':
    sys.exit(main())
