"""The console command ``mmdvis``."""

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

from mmdvis.version import __version__

Commands = Mapping[str, tuple[str, str]]  # name -> module and description; a module is imported when its command is run
COMMANDS: Commands = {
    'run': ('mmdvis.cli.run', 'segment videos, cameras, streams, folders of frames or images'),
    'models': ('mmdvis.cli.models', 'list the models, or describe one'),
    'train': ('mmdvis.cli.train', 'train a model with a config'),
    'train-stages': ('mmdvis.cli.train_stages', 'train several stages in sequence'),
    'test': ('mmdvis.cli.test', 'evaluate a checkpoint on a dataset'),
    'score': ('mmdvis.cli.score', 'evaluate result files in the formats of the benchmarks'),
    'data': ('mmdvis.cli.data', 'check, browse, convert or export a dataset, or write a config for it'),
    'export': ('mmdvis.cli.export', 'export a model to ONNX, OpenVINO or torch.export'),
    'web': ('mmdvis.cli.web', 'start the demo in a browser'),
    'doctor': ('mmdvis.doctor', 'check the installation'),
}


def run_command(program: str, description: str, commands: Commands, arguments: Sequence[str] | None) -> int:
    """Runs one of several commands.

    Args:
        program: Name of the program in its help text.
        description: First line of the help text.
        commands: The commands.
        arguments: Words of the command line; None takes those of the process.

    Returns:
        Exit code.
    """
    width = max(map(len, commands)) + 2
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog='commands:\n' + '\n'.join(f'  {name:<{width}}{text}' for name, (_, text) in commands.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if program == 'mmdvis':
        parser.add_argument('--version', action='version', version=f'mmdvis {__version__}')
    parser.add_argument('command', choices=commands, metavar='command', help=f'see below; `{program} COMMAND --help`')
    parser.add_argument('options', nargs=argparse.REMAINDER, help='options of the command')
    args = parser.parse_args(arguments)
    return importlib.import_module(commands[args.command][0]).main(args.options) or 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    return run_command('mmdvis', 'Video segmentation with the DVIS family.', COMMANDS, arguments)


if __name__ == '__main__':
    sys.exit(main())
