"""Reads checkpoint files, which are untrusted, without running what may hide in them."""
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Union

import numpy as np
import torch

RECOMPUTED = ('num_batches_tracked', 'relative_position_index')  # buffers that other frameworks do not save
HOW_TO_TRUST = ('it holds objects other than tensors, numbers and arrays; if you trust its author, load it yourself with '
                'torch.load(..., weights_only=False) and save its state dict again')


def log_statistic(owner: type, name: str) -> Any:
    """What ``getattr`` is allowed to be in a checkpoint: mmengine's log buffers name their statistics through it."""
    if getattr(owner, '__name__', '') != 'HistoryBuffer' or name not in ('min', 'max', 'current', 'mean'):
        raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint')
    return getattr(owner, name)


def harmless_types() -> list:
    """What a checkpoint of mmengine holds besides tensors: its log buffers and the NumPy types in them."""
    from mmengine.logging.history_buffer import HistoryBuffer
    core = getattr(np, '_core', None) or np.core
    scalars = [np.float64, np.float32, np.int64, np.int32, np.uint32, np.bool_]
    return [HistoryBuffer, (log_statistic, 'builtins.getattr'), (log_statistic, '__builtin__.getattr'),
            np.ndarray, np.dtype, core.multiarray._reconstruct, core.multiarray.scalar,
            *{type(np.dtype(scalar)) for scalar in scalars}]


def read_checkpoint(path: Union[str, Path], map_location: str = 'cpu') -> Dict[str, Any]:
    """The contents of a ``.pth`` file (torch, restricted unpickling) or an ``.npz`` file (arrays as float32 tensors).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file holds anything but tensors, plain values and mmengine's log buffers, or is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint file {path}')
    try:
        if path.suffix == '.npz':
            with np.load(path, allow_pickle=False) as arrays:
                return {name: tensor_of(arrays[name]) for name in arrays.files}
        with torch.serialization.safe_globals(harmless_types()):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r'GLOBAL (\S+)|getattr\(.*', str(error))
        raise ValueError(f"{path} was not loaded: {HOW_TO_TRUST} ({named.group(0) if named else 'unreadable pickle'})") from None
    except (RuntimeError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f'{path} is not a readable checkpoint: {error}') from None


def tensor_of(array: np.ndarray) -> torch.Tensor:
    """The array as a tensor; half precision becomes float32, integers stay as they are."""
    tensor = torch.from_numpy(np.array(array))
    return tensor.float() if tensor.is_floating_point() else tensor


def state_dict_of(checkpoint: Dict[str, Any]) -> Dict[str, torch.Tensor]:
    """The weights inside a checkpoint, wherever its author put them (``state_dict``, ``model`` or the top level).

    The ``module.`` that a data-parallel wrapper leaves in the names is taken off.
    """
    found = next((checkpoint[name] for name in ('state_dict', 'model') if isinstance(checkpoint.get(name), dict)), checkpoint)
    return {name[7:] if name.startswith('module.') else name: torch.as_tensor(value) for name, value in found.items()
            if isinstance(value, (torch.Tensor, np.ndarray))}


def missing_weights(wanted: Dict[str, torch.Tensor], found: Dict[str, torch.Tensor]) -> List[str]:
    """Names of ``wanted`` that ``found`` lacks or has in another shape; buffers that are recomputed do not count."""
    return [name for name, tensor in wanted.items() if not name.endswith(RECOMPUTED)
            and (name not in found or found[name].shape != tensor.shape)]
