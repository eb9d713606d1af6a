"""Makes ``mmcv`` usable without compiled operators.

Without a compiler, pip installs ``mmcv`` without the extension ``mmcv._ext``. ``mmcv.ops`` imports the extension, so
the backbones and losses of mmdet cannot be imported without it. A finder on ``sys.meta_path`` handles the import of
this extension: it loads the real extension if possible, and otherwise a module that computes the operators of
:mod:`mmdvis.ops` in PyTorch and raises an error when another one is called.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

EXTENSION = 'mmcv._ext'
NOT_COMPILED = 'not compiled'
INSTALL = (
    'install a C++ compiler (and the CUDA toolkit for GPUs) and run '
    '`pip install --no-build-isolation --no-binary onedl-mmcv onedl-mmcv`'
)


sources: list[str] = []  # name of the package with the operators in PyTorch, set by install_hooks


class FallbackOps(ModuleType):
    """Replacement of ``mmcv._ext``: operators of :mod:`mmdvis.ops`, and functions that raise for all others."""

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('__'):
            raise AttributeError(name)
        if name in ('get_compiler_version', 'get_compiling_cuda_version'):
            return lambda: NOT_COMPILED
        operator = computed_op(name) if name in computed_names() else missing_op(name)
        setattr(self, name, operator)
        return operator


def computed_names() -> tuple[str, ...]:
    """Names of the operators that are computed in PyTorch."""
    return tuple(importlib.import_module(sources[0]).COMPUTED) if sources else ()


def computed_op(name: str) -> Callable:
    """The operator ``name`` in PyTorch; the first call imports its module, and warns if tensors are on a GPU."""
    operator: Callable | None = None

    def compute(*args: Any, **kwargs: Any) -> Any:
        nonlocal operator
        if operator is None:
            module = importlib.import_module(sources[0]).COMPUTED[name]
            operator = getattr(importlib.import_module(f'{sources[0]}.{module}'), name)
            if any(getattr(value, 'is_cuda', False) for value in args):
                warnings.warn(
                    f'the operator {name!r} of mmcv is computed in PyTorch, which is slower than its compiled form on '
                    f'a GPU; {INSTALL} to get that',
                    stacklevel=3,
                )
        return operator(*args, **kwargs)

    return compute


def missing_op(name: str) -> Callable:
    """Function that raises RuntimeError with instructions for installing the operator ``name``."""

    def raise_missing(*args: object, **kwargs: object) -> None:
        raise RuntimeError(
            f'the compiled operator {name!r} of mmcv is not installed, and mmdvis has no fallback; models of DVIS '
            f'and most detectors of mmdet do not need it; {INSTALL} to get it'
        )

    return raise_missing


class ExtensionLoader(importlib.abc.Loader):
    """Loader of the real extension with :class:`FallbackOps` in its place if it cannot be loaded.

    Loading fails if the extension was compiled for another version of torch or CUDA, for example.

    Args:
        spec: Spec of the real extension; None if it is not installed.
    """

    def __init__(self, spec: importlib.machinery.ModuleSpec | None) -> None:
        self.spec = spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Creates the real module, or its replacement; warns if the real one is installed but cannot be loaded."""
        if self.spec is not None:
            try:
                return importlib.util.module_from_spec(self.spec)
            except ImportError as error:
                warnings.warn(
                    f'the compiled operators of mmcv cannot be loaded and are computed in PyTorch: {error}',
                    stacklevel=2,
                )
        return FallbackOps(EXTENSION)

    def exec_module(self, module: ModuleType) -> None:
        """Initialises the real module; does nothing for its replacement."""
        if not isinstance(module, FallbackOps):
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


def install_hooks(package: str) -> None:
    """Inserts the finder at the front of ``sys.meta_path`` if it is not installed yet.

    Args:
        package: Name of the package with the operators in PyTorch, which is imported when one is called. Its
            ``COMPUTED`` maps the name of an operator to its module.
    """
    sources[:] = [package]
    if not any(isinstance(finder, ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, ExtensionFinder())


def has_compiled_ops() -> bool:
    """Whether the compiled operators of ``mmcv`` are installed and can be loaded."""
    return not isinstance(importlib.import_module(EXTENSION), FallbackOps)
