"""Evaluates a checkpoint on the test set of a config."""

from mmdvis.cli.test import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    main()
