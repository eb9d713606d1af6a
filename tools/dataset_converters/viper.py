"""Converts VIPER to the layout of VIPSeg; can be run repeatedly."""

from mmdvis.cli.convert_viper import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    main()
