"""Makes ``mmcv`` without compiled operators importable, which is how pip installs it where there is no compiler.

``mmcv.ops`` loads the extension ``mmcv._ext`` at import, so without it mmdet's backbones and losses cannot even be imported.
A finder on ``sys.meta_path`` answers for that one name: with the real extension where it loads, else with a placeholder
whose operators raise when they are *called*.
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
    """Stands for ``mmcv._ext``: every operator exists and says, when called, how to get it."""

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):
            raise AttributeError(name)
        if name in ('get_compiler_version', 'get_compiling_cuda_version'):
            return lambda: NOT_COMPILED
        return missing_op(name)


def missing_op(name: str) -> Callable:
    """A function that raises RuntimeError with the way to get the operator ``name``."""

    def raise_missing(*args: object, **kwargs: object) -> None:
        raise RuntimeError(
            f'the compiled operator {name!r} of mmcv is not installed; the DVIS family runs without it, other models of '
            'mmdet need it: `pip install --no-build-isolation --no-binary onedl-mmcv onedl-mmcv` builds it where a '
            'compiler (and for CUDA its toolkit) is at hand'
        )

    return raise_missing


class ExtensionLoader(importlib.abc.Loader):
    """Loads the real extension, and falls back to the placeholder where that fails (other torch, other CUDA)."""

    def __init__(self, spec: importlib.machinery.ModuleSpec | None) -> None:
        self.spec = spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The real module, or the placeholder; a real one that cannot be loaded is reported."""
        if self.spec is not None:
            try:
                return importlib.util.module_from_spec(self.spec)
            except ImportError as error:
                warnings.warn(f'the compiled operators of mmcv do not load and are replaced: {error}', stacklevel=2)
        return PlaceholderOps(EXTENSION)

    def exec_module(self, module: ModuleType) -> None:
        """Runs the real module's start; the placeholder has none."""
        if not isinstance(module, PlaceholderOps):
            self.spec.loader.exec_module(module)


class ExtensionFinder(importlib.abc.MetaPathFinder):
    """Answers for ``mmcv._ext`` and for nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of ``mmcv._ext``, None for every other module."""
        if fullname != EXTENSION:
            return None
        real = importlib.machinery.PathFinder.find_spec(fullname, path)
        return importlib.machinery.ModuleSpec(fullname, ExtensionLoader(real))


def install_hooks() -> None:
    """Puts the finder first on ``sys.meta_path``, once."""
    if not any(isinstance(finder, ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, ExtensionFinder())


def has_compiled_ops() -> bool:
    """Whether ``mmcv`` came with operators that load here."""
    return not isinstance(importlib.import_module(EXTENSION), PlaceholderOps)
