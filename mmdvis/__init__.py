"""The DVIS family of video segmentation for the OpenMMLab ecosystem.

Importing the package costs nothing: it loads neither torch nor mmdet. It only makes sure that ``mmcv`` without compiled
ops can be imported later. ``mmdvis.registry`` makes ``mmdvis::path/of/config.py`` known to mmengine.
"""

from .mmcv_ops_fallback import install_hooks
from .version import __version__

install_hooks()

__all__ = ['__version__']
