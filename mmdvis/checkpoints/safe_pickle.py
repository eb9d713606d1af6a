"""Restricted unpickling of plain containers and NumPy arrays.

Arrays are rebuilt by functions of this module that validate every part. The ``dtype`` and ``ndarray`` of NumPy are not
called directly, because they accept raw memory from a pickle: an object array could contain arbitrary pointers.
"""

import collections
import math
import pickle
import re
from typing import Any

import numpy as np

NUMERIC = re.compile(r'[<>|=]?([biufc]\d+|[?bBhHiIlLqQefdgFDG])$')


class PlainDtype:
    """Replacement of ``numpy.dtype`` during unpickling, for numeric types only."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not isinstance(code, str) or not NUMERIC.match(code):
            raise pickle.UnpicklingError(f'GLOBAL numpy.dtype({code!r}), which is not numeric')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ('<', '>', '|', '=') or any(state[2:5]):
            raise pickle.UnpicklingError('GLOBAL numpy.dtype with fields')
        self.dtype = self.dtype.newbyteorder(state[1])


class CheckedArray(np.ndarray):
    """Array that accepts a pickled state only if its bytes, shape and type are consistent."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, is_fortran, raw = state
        raw = raw.encode('latin1') if isinstance(raw, str) else raw  # Python 2
        if not isinstance(kind, PlainDtype) or not isinstance(raw, bytes) or not is_consistent(raw, kind, shape):
            raise pickle.UnpicklingError('GLOBAL numpy.ndarray that is not numeric')
        super().__setstate__((1, shape, kind.dtype, bool(is_fortran), raw))

    def __reduce_ex__(self, protocol: int) -> Any:
        return np.asarray(self).__reduce_ex__(protocol)


def is_consistent(raw: bytes, kind: PlainDtype, shape: tuple[int, ...]) -> bool:
    """Whether the number of bytes matches the type and the shape."""
    is_shape = isinstance(shape, tuple) and all(isinstance(length, int) and length >= 0 for length in shape)
    return is_shape and len(raw) == math.prod(shape) * kind.dtype.itemsize


def reconstruct(kind: type, shape: tuple, code: Any) -> CheckedArray:
    """Replacement of NumPy's ``_reconstruct``: an empty array whose state is set afterwards."""
    return np.ndarray.__new__(CheckedArray, (0,), np.int8)


def numpy_scalar(kind: PlainDtype, raw: Any = b'') -> np.generic:
    """Replacement of NumPy's ``scalar``.

    Raises:
        UnpicklingError: If the value is not a number.
    """
    raw = raw.encode('latin1') if isinstance(raw, str) else raw
    if not isinstance(kind, PlainDtype) or not isinstance(raw, bytes) or not is_consistent(raw, kind, ()):
        raise pickle.UnpicklingError('GLOBAL numpy scalar that is not numeric')
    return np.frombuffer(raw, kind.dtype)[0]


def from_buffer(raw: Any, kind: PlainDtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """Replacement of NumPy's ``_frombuffer``, which arrays of pickle protocol 5 call.

    Raises:
        UnpicklingError: If the array is not numeric or its bytes do not match its shape.
    """
    raw = bytes(raw)
    if not isinstance(kind, PlainDtype) or order not in ('C', 'F') or not is_consistent(raw, kind, shape):
        raise pickle.UnpicklingError('GLOBAL numpy.ndarray that is not numeric')
    return np.frombuffer(raw, kind.dtype).reshape(shape, order=order)


def encode_latin1(text: str, encoding: str) -> bytes:
    """Replacement of ``_codecs.encode``, by which old pickle protocols represent bytes.

    Raises:
        UnpicklingError: If the encoding is not latin1.
    """
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'GLOBAL _codecs.encode to {encoding!r}')
    return text.encode(encoding)


def empty_bytes(*arguments: Any) -> bytes:
    """Replacement of ``bytes``, by which old pickle protocols represent empty bytes.

    Raises:
        UnpicklingError: If there are arguments.
    """
    if arguments:
        raise pickle.UnpicklingError('GLOBAL bytes with arguments')
    return b''


def array_names() -> dict[str, Any]:
    """Full name -> replacement, with the module names of NumPy 1 and 2."""
    replacements: dict[str, Any] = {'numpy.dtype': PlainDtype, 'numpy.ndarray': CheckedArray}
    replacements.update({f'{module}.bytes': empty_bytes for module in ('builtins', '__builtin__')})
    for core in ('numpy.core', 'numpy._core'):
        replacements.update(
            {
                f'{core}.multiarray._reconstruct': reconstruct,
                f'{core}.multiarray.scalar': numpy_scalar,
                f'{core}.numeric._frombuffer': from_buffer,
            }
        )
    return replacements


class ArrayUnpickler(pickle.Unpickler):
    """Unpickler that accepts only plain containers and NumPy arrays."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns the replacement of a name.

        Raises:
            UnpicklingError: If the name is not allowed.
        """
        allowed = dict(
            array_names(), **{'collections.OrderedDict': collections.OrderedDict, '_codecs.encode': encode_latin1}
        )
        if f'{module}.{name}' not in allowed:
            raise pickle.UnpicklingError(f'GLOBAL {module}.{name}')
        return allowed[f'{module}.{name}']


def log_statistic(owner: type, name: str) -> Any:
    """Replacement of ``getattr``, by which log buffers of mmengine refer to their statistics.

    Raises:
        UnpicklingError: If the attribute is not a statistic of a log buffer.
    """
    if getattr(owner, '__name__', '') != 'HistoryBuffer' or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint')
    return getattr(owner, name)


def safe_globals() -> list[Any]:
    """Additional globals for torch's restricted unpickler: log buffers of mmengine and numeric arrays."""
    from mmengine.logging.history_buffer import HistoryBuffer

    return [
        HistoryBuffer,
        (log_statistic, 'builtins.getattr'),
        (log_statistic, '__builtin__.getattr'),
        *((stand_in, name) for name, stand_in in array_names().items()),
    ]
