"""The DVIS family of video segmentation for the OpenMMLab ecosystem.

Importing the package costs nothing: it loads neither torch nor mmdet. It only makes sure that ``mmcv`` without compiled
ops can be imported later. ``mmdvis.registry`` makes ``mmdvis::path/of/config.py`` known to mmengine.
"""

from typing import TYPE_CHECKING, Any

from .mmcv_ops_fallback import install_hooks
from .version import __version__

install_hooks('mmdvis.ops')

if TYPE_CHECKING:
    from .apis import load as load
    from .checkpoints.zoo import model_entries as list_models

__all__ = ['__version__', 'list_models', 'load']


def __getattr__(name: str) -> Any:
    """Imports the public functions when they are used, so that importing the package stays quick."""
    if name == 'load':
        from .apis import load

        return load
    if name == 'list_models':
        from .checkpoints.zoo import model_entries

        return model_entries
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
