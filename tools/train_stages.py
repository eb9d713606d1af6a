"""Trains several stages in sequence; each stage starts from the checkpoint of the previous one."""

from mmdvis.cli.train_stages import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    main()
