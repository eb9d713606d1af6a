"""Draws clips of a dataset with their objects, before and after augmentation."""

from mmdvis.cli.browse_dataset import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    main()
