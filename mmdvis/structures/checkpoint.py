"""Reads checkpoint files, which are untrusted, without running what may hide in them."""
import collections
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Union

import numpy as np
import torch

HOW_TO_TRUST = ('it holds objects other than tensors, numbers and arrays; only if you trust its author, read it with --trust '
                '(trust=True in a program)')

Device = Union[str, torch.device, Callable]


def log_statistic(owner: type, name: str) -> Any:
    """What ``getattr`` is allowed to be in a checkpoint: mmengine's log buffers name their statistics through it."""
    if getattr(owner, '__name__', '') != 'HistoryBuffer' or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint')
    return getattr(owner, name)


def numpy_makers() -> list:
    """The functions that a pickled array calls."""
    core = getattr(np, '_core', None) or np.core
    return [core.multiarray._reconstruct, core.multiarray.scalar]


def harmless_types() -> list:
    """What a checkpoint of mmengine holds besides tensors: its log buffers and the NumPy types in them."""
    from mmengine.logging.history_buffer import HistoryBuffer
    scalars = [np.float64, np.float32, np.int64, np.int32, np.uint32, np.bool_]
    return [HistoryBuffer, (log_statistic, 'builtins.getattr'), (log_statistic, '__builtin__.getattr'),
            np.ndarray, np.dtype, *numpy_makers(), *{type(np.dtype(scalar)) for scalar in scalars}]


def encoded(text: str, encoding: str) -> bytes:
    """How old pickles write bytes; raises UnpicklingError for anything but that."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'GLOBAL _codecs.encode to {encoding!r}')
    return text.encode(encoding)


class ArrayUnpickler(pickle.Unpickler):
    """Admits plain containers and NumPy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The few names that arrays need; raises UnpicklingError for any other."""
        makers = {maker.__name__: maker for maker in numpy_makers()}
        if module in ('numpy.core.multiarray', 'numpy._core.multiarray') and name in makers:
            return makers[name]
        if module == 'numpy' and name in ('ndarray', 'dtype'):
            return getattr(np, name)
        harmless = {('collections', 'OrderedDict'): collections.OrderedDict, ('_codecs', 'encode'): encoded}
        if (module, name) in harmless:
            return harmless[module, name]
        raise pickle.UnpicklingError(f'GLOBAL {module}.{name}')


def read_npz(path: Path, map_location: Device, trust: bool) -> Dict[str, Any]:
    """Arrays as tensors; never unpickles."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: tensor_of(arrays[name]) for name in arrays.files}


def read_safetensors(path: Path, map_location: Device, trust: bool) -> Dict[str, Any]:
    """Tensors of a file that can hold nothing else."""
    from safetensors.torch import load_file
    return load_file(path)


def read_pickle(path: Path, map_location: Device, trust: bool) -> Dict[str, Any]:
    """A plain pickle, as detectron2's model zoo has them; those of Python 2 too."""
    with open(path, 'rb') as file:
        return pickle.load(file, encoding='latin1') if trust else ArrayUnpickler(file, encoding='latin1').load()


def read_torch(path: Path, map_location: Device, trust: bool) -> Dict[str, Any]:
    """A file of ``torch.save``."""
    with torch.serialization.safe_globals(harmless_types()):
        return torch.load(path, map_location=map_location, weights_only=not trust)


class CheckpointError(ValueError):
    """A checkpoint that is refused; its message is for people."""


READERS = {'.npz': read_npz, '.safetensors': read_safetensors, '.pkl': read_pickle}  # torch's format under any other name


def read_checkpoint(path: Union[str, Path], map_location: Device = 'cpu', trust: bool = False) -> Dict[str, Any]:
    """The contents of a ``.pth`` file, a ``.pkl`` of arrays (detectron2's zoo), a ``.safetensors`` or an ``.npz`` file.

    Args:
        path: the file.
        map_location: as in ``torch.load``.
        trust: let the file run what it likes, as unpickling does; only for files whose author is trusted.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or holds anything but tensors, arrays, plain values and mmengine's log buffers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint file {path}')
    try:
        content = READERS.get(path.suffix, read_torch)(path, map_location, trust)
    except pickle.UnpicklingError as error:
        named = re.search(r'GLOBAL (\S+)|getattr\(.*', str(error))
        if named is None:
            raise CheckpointError(f'{path} is not a readable checkpoint: its pickle is damaged') from None
        raise CheckpointError(f'{path} was not loaded: {HOW_TO_TRUST} ({named.group(0)})') from None
    except ImportError as error:
        raise CheckpointError(f'{path} was not loaded: it needs {error.name}, which is not installed') from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged pickle may raise anything
        what = 'it is cut off or damaged' if isinstance(error, (EOFError, zipfile.BadZipFile)) else first_line(error)
        raise CheckpointError(f'{path} is not a readable checkpoint: {what}') from None
    if not isinstance(content, dict):
        raise CheckpointError(f'{path} is not a checkpoint: it holds a {type(content).__name__}, a checkpoint is a dict')
    return content


def first_line(error: Exception) -> str:
    """An error's own words, cut to one sentence."""
    return str(error).strip().split('\n')[0].split('. ')[0] or type(error).__name__


def tensor_of(array: np.ndarray) -> torch.Tensor:
    """The array as a tensor; any precision becomes float32, integers stay as they are."""
    tensor = torch.from_numpy(np.array(array))
    return tensor.float() if tensor.is_floating_point() else tensor


def state_dict_of(checkpoint: Dict[str, Any]) -> Dict[str, torch.Tensor]:
    """The weights inside a checkpoint, wherever its author put them (``state_dict``, ``model`` or the top level).

    The ``module.`` that a data-parallel wrapper leaves in the names is taken off.
    """
    found = next((checkpoint[name] for name in ('state_dict', 'model') if isinstance(checkpoint.get(name), dict)), checkpoint)
    return {name[7:] if name.startswith('module.') else name: tensor_of(value) if isinstance(value, np.ndarray) else value
            for name, value in found.items() if isinstance(value, (torch.Tensor, np.ndarray))}
