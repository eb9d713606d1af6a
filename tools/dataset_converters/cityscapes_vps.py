"""Creates the panoptic PNGs and jsons of Cityscapes-VPS from its class and instance images; can be run repeatedly."""

from mmdvis.cli.convert_cityscapes_vps import main, parse_args

__all__ = ['main', 'parse_args']

if __name__ == '__main__':
    main()
