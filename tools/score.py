"""Evaluates results on disk in the formats of the official benchmarks; does not need a model."""

import sys

from mmdvis.cli.score import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    sys.exit(main())
