"""Converts the raw release of VIPSeg: resizes frames and masks, and writes panoptic PNGs and a json per split."""

from mmdvis.cli.convert_vipseg import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    main()
