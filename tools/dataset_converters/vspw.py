"""Creates a resized copy of VSPW (VSPW_480p from the full-size release); can be run repeatedly."""

from mmdvis.cli.convert_vspw import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    main()
