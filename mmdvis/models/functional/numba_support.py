"""Compilation of Numba kernels, and the question whether they can be used; Numba is imported only when it is needed."""

import warnings
import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

EXACT: dict[str, Any] = dict(nogil=True, error_model='numpy')  # floating-point arithmetic of IEEE 754
CONTRACTED: dict[str, Any] = dict(EXACT, fastmath={'contract', 'nsz'})  # with fused multiply-adds


def compiled(function: Callable[..., None], nothing: tuple[Any, ...], options: dict[str, Any]) -> Callable[..., None]:
    """Compiles a kernel, whose machine code Numba keeps on disk.

    Each kernel needs a qualified name of its own: processes that add to the same index at the same time could damage
    it. Without a usable folder, the kernel is compiled in each process.

    Args:
        function: Function to compile.
        nothing: Arguments without work, of the types of all calls.
        options: Options of ``numba.njit``.
    """
    from numba import config, njit

    if config.DISABLE_JIT:
        raise RuntimeError('its compiler is disabled')
    words = sorted(f'{name}={sorted(value) if isinstance(value, set) else value}' for name, value in options.items())
    function.__qualname__ += f'_{zlib.crc32(" ".join(words).encode()):08x}'  # the index does not know the options
    try:
        kernel = njit(cache=True, **options)(function)
        kernel(*nothing)
        return kernel
    except Exception:  # no folder, no space, damaged files
        return njit(**options)(function)


def can_leave_pytorch(*tensors: Tensor) -> bool:
    """Whether a function of CPU tensors may be computed outside of PyTorch.

    This needs tensors without gradients, and operators that are executed, not traced, compiled or counted.
    """
    if not tensors[0].is_cpu or torch.compiler.is_compiling() or torch.jit.is_tracing() or is_in_torch_dispatch_mode():
        return False
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        return False
    return all(unpack_dual(x).tangent is None for x in tensors)


def works(trial: Callable[[], bool], purpose: str) -> bool:
    """Whether a trial of a kernel succeeds; a failure causes a warning.

    Args:
        trial: Function that raises an exception if the kernel fails, and returns whether it should be used.
        purpose: What the kernel computes, for the warning.
    """
    try:
        return trial()
    except Exception as error:  # Numba has many kinds of failures, and its versions exclude some of NumPy
        reason = (str(error).strip().splitlines() or [''])[-1]
        warnings.warn(
            f'Numba is not usable ({type(error).__name__}: {reason}), so {purpose} runs in PyTorch, which is slower; '
            'try another version of numba',
            stacklevel=3,
        )
        return False
