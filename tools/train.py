"""Trains a model with a config."""

from mmdvis.cli.train import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    main()
