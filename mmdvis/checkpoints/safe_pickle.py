"""What may be in a pickle: plain containers and NumPy arrays, rebuilt by functions of our own that check every part.

NumPy's own ``dtype`` and ``ndarray`` take raw memory from a pickle (an object array can be made to point anywhere), so not
even they are called.
"""

import collections
import math
import pickle
import re
from typing import Any

import numpy as np

NUMERIC = re.compile(r'[<>|=]?([biufc]\d+|[?bBhHiIlLqQefdgFDG])$')


class PlainDtype:
    """Stands for ``numpy.dtype`` while a pickle is read; numbers only."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not isinstance(code, str) or not NUMERIC.match(code):
            raise pickle.UnpicklingError(f'GLOBAL numpy.dtype({code!r}), which is no number')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ('<', '>', '|', '=') or any(state[2:5]):
            raise pickle.UnpicklingError('GLOBAL numpy.dtype with fields')
        self.dtype = self.dtype.newbyteorder(state[1])


class CheckedArray(np.ndarray):
    """An array that takes its state from a pickle only if bytes, shape and type fit."""

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, is_fortran, raw = state
        raw = raw.encode('latin1') if isinstance(raw, str) else raw  # Python 2
        if not isinstance(kind, PlainDtype) or not isinstance(raw, bytes) or not is_consistent(raw, kind, shape):
            raise pickle.UnpicklingError('GLOBAL numpy.ndarray of other than numbers')
        super().__setstate__((1, shape, kind.dtype, bool(is_fortran), raw))

    def __reduce_ex__(self, protocol: int) -> Any:
        return np.asarray(self).__reduce_ex__(protocol)


def is_consistent(raw: bytes, kind: PlainDtype, shape: tuple[int, ...]) -> bool:
    """Whether so many bytes are an array of this shape."""
    is_shape = isinstance(shape, tuple) and all(isinstance(length, int) and length >= 0 for length in shape)
    return is_shape and len(raw) == math.prod(shape) * kind.dtype.itemsize


def reconstruct(kind: type, shape: tuple, code: Any) -> CheckedArray:
    """Stands for NumPy's function of that name: an empty array, which gets its state next."""
    return np.ndarray.__new__(CheckedArray, (0,), np.int8)


def numpy_scalar(kind: PlainDtype, raw: Any = b'') -> np.generic:
    """Stands for NumPy's function of that name: one number."""
    raw = raw.encode('latin1') if isinstance(raw, str) else raw
    if not isinstance(kind, PlainDtype) or not isinstance(raw, bytes) or not is_consistent(raw, kind, ()):
        raise pickle.UnpicklingError('GLOBAL numpy scalar that is no number')
    return np.frombuffer(raw, kind.dtype)[0]


def from_buffer(raw: Any, kind: PlainDtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    """Stands for the function that arrays of pickle protocol 5 call."""
    raw = bytes(raw)
    if not isinstance(kind, PlainDtype) or order not in ('C', 'F') or not is_consistent(raw, kind, shape):
        raise pickle.UnpicklingError('GLOBAL numpy.ndarray of other than numbers')
    return np.frombuffer(raw, kind.dtype).reshape(shape, order=order)


def encode_latin1(text: str, encoding: str) -> bytes:
    """How old pickles write bytes; raises UnpicklingError for anything but that."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'GLOBAL _codecs.encode to {encoding!r}')
    return text.encode(encoding)


def empty_bytes(*arguments: Any) -> bytes:
    """How old pickles write bytes where there are none; raises UnpicklingError for anything but that."""
    if arguments:
        raise pickle.UnpicklingError('GLOBAL bytes of something')
    return b''


def array_names() -> dict[str, Any]:
    """Full name -> what takes its place, in the spellings of NumPy 1 and 2."""
    found: dict[str, Any] = {'numpy.dtype': PlainDtype, 'numpy.ndarray': CheckedArray}
    found.update({f'{module}.bytes': empty_bytes for module in ('builtins', '__builtin__')})
    for core in ('numpy.core', 'numpy._core'):
        found.update(
            {
                f'{core}.multiarray._reconstruct': reconstruct,
                f'{core}.multiarray.scalar': numpy_scalar,
                f'{core}.numeric._frombuffer': from_buffer,
            }
        )
    return found


class ArrayUnpickler(pickle.Unpickler):
    """Admits plain containers and NumPy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The few names that arrays need; raises UnpicklingError for any other."""
        allowed = dict(
            array_names(), **{'collections.OrderedDict': collections.OrderedDict, '_codecs.encode': encode_latin1}
        )
        if f'{module}.{name}' not in allowed:
            raise pickle.UnpicklingError(f'GLOBAL {module}.{name}')
        return allowed[f'{module}.{name}']


def log_statistic(owner: type, name: str) -> Any:
    """What ``getattr`` is allowed to be in a checkpoint: mmengine's log buffers name their statistics through it."""
    if getattr(owner, '__name__', '') != 'HistoryBuffer' or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint')
    return getattr(owner, name)


def safe_globals() -> list[Any]:
    """What torch's restricted unpickler may build besides tensors: mmengine's log buffers, and arrays of numbers."""
    from mmengine.logging.history_buffer import HistoryBuffer

    return [
        HistoryBuffer,
        (log_statistic, 'builtins.getattr'),
        (log_statistic, '__builtin__.getattr'),
        *((stand_in, name) for name, stand_in in array_names().items()),
    ]
