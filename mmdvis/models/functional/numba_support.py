"""Compiles Numba kernels, and decides whether they can be used; Numba is imported on demand."""

import warnings
import zlib
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd.forward_ad import unpack_dual
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from mmdvis.structures.linear import is_eager_inference

EXACT: dict[str, Any] = dict(nogil=True, error_model='numpy')  # floating-point arithmetic of IEEE 754
CONTRACTED: dict[str, Any] = dict(EXACT, fastmath={'contract', 'nsz'})  # with fused multiply-adds


def compiled(function: Callable[..., None], empty: tuple[Any, ...], options: dict[str, Any]) -> Callable[..., None]:
    """Compiles a kernel, whose machine code Numba keeps on disk.

    Each kernel needs a qualified name of its own: processes that add to the same index at the same time could damage
    it. Without a usable folder, the kernel is compiled in each process.

    Args:
        function: Function to compile.
        empty: Empty arguments with the types of all later calls.
        options: Options of ``numba.njit``.
    """
    from numba import config, njit

    if config.DISABLE_JIT:
        raise RuntimeError('its compiler is disabled')
    words = sorted(f'{name}={sorted(value) if isinstance(value, set) else value}' for name, value in options.items())
    function.__qualname__ += f'_{zlib.crc32(" ".join(words).encode()):08x}'  # the index does not know the options
    try:
        kernel = njit(cache=True, **options)(function)
        kernel(*empty)
        return kernel
    except Exception:  # no folder, no space, damaged files
        return njit(**options)(function)


def can_leave_pytorch(*tensors: Tensor) -> bool:
    """Whether a function of tensors may be computed outside of PyTorch: on a CPU, without gradients.

    It may not while operators are traced, compiled, or intercepted by a dispatch mode, which counts them, for example.
    """
    if not is_eager_inference(*tensors) or is_in_torch_dispatch_mode():
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
