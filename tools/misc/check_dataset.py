"""Reads every file of the datasets of a config or a folder and reports all problems."""

from mmdvis.cli.check_dataset import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    main()
