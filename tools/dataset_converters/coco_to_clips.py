"""Converts an instance json of COCO to the classes of a video dataset, for joint training."""

from mmdvis.cli.convert_coco import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    main()
