"""Makes ``mmcv`` importable without compiled operators.

Without a compiler, pip installs ``mmcv`` without the extension ``mmcv._ext``. ``mmcv.ops`` imports the extension, so
the backbones and losses of mmdet cannot be imported without it. A finder on ``sys.meta_path`` handles the import of
this extension: it loads the real extension if possible, and otherwise a placeholder whose operators raise an error when
they are called.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType

EXTENSION = 'mmcv._ext'
NOT_COMPILED = 'not compiled'


class PlaceholderOps(ModuleType):
    """Placeholder of ``mmcv._ext`` whose operators raise RuntimeError with installation instructions when called."""

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):
            raise AttributeError(name)
        if name in ('get_compiler_version', 'get_compiling_cuda_version'):
            return lambda: NOT_COMPILED
        return missing_op(name)


def missing_op(name: str) -> Callable:
    """Function that raises RuntimeError with instructions for installing the operator ``name``."""

    def raise_missing(*args: object, **kwargs: object) -> None:
        raise RuntimeError(
            f'the compiled operator {name!r} of mmcv is not installed; DVIS models do not need it, but other models of '
            'mmdet do: install a C++ compiler (and the CUDA toolkit for GPUs) and run '
            '`pip install --no-build-isolation --no-binary onedl-mmcv onedl-mmcv`'
        )

    return raise_missing


class ExtensionLoader(importlib.abc.Loader):
    """Loader of the real extension with the placeholder as a fallback.

    Loading fails if the extension was compiled for another version of torch or CUDA, for example.

    Args:
        spec: Spec of the real extension; None if it is not installed.
    """

    def __init__(self, spec: importlib.machinery.ModuleSpec | None) -> None:
        self.spec = spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Creates the real module, or the placeholder; warns if the real module is installed but cannot be loaded."""
        if self.spec is not None:
            try:
                return importlib.util.module_from_spec(self.spec)
            except ImportError as error:
                warnings.warn(
                    f'the compiled operators of mmcv cannot be loaded and are replaced by placeholders: {error}',
                    stacklevel=2,
                )
        return PlaceholderOps(EXTENSION)

    def exec_module(self, module: ModuleType) -> None:
        """Initialises the real module; does nothing for the placeholder."""
        if not isinstance(module, PlaceholderOps):
            self.spec.loader.exec_module(module)


class ExtensionFinder(importlib.abc.MetaPathFinder):
    """Finder that handles only ``mmcv._ext``."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Spec of ``mmcv._ext``; None for all other modules."""
        if fullname != EXTENSION:
            return None
        extension_spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        return importlib.machinery.ModuleSpec(fullname, ExtensionLoader(extension_spec))


def install_hooks() -> None:
    """Inserts the finder at the front of ``sys.meta_path`` if it is not installed yet."""
    if not any(isinstance(finder, ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, ExtensionFinder())


def has_compiled_ops() -> bool:
    """Whether the compiled operators of ``mmcv`` are installed and can be loaded."""
    return not isinstance(importlib.import_module(EXTENSION), PlaceholderOps)
