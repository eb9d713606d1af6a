"""Writes the synthetic videos of the toy recipe in the layouts of VIPSeg, YouTube-VIS and VSPW."""

from mmdvis.cli.make_toy_videos import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    main()
