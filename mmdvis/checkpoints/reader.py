"""Reads checkpoint files, which are untrusted, without running what may hide in them."""

import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmdvis.errors import CheckpointError

from .safe_pickle import ArrayUnpickler, safe_globals

TRUST_HINT = (
    'it holds objects other than tensors, numbers and arrays; only if you trust its author, read it with --trust '
    '(trust=True in a program)'
)

MapLocation = str | torch.device | Callable


def read_npz(path: Path, map_location: MapLocation, trust: bool) -> dict[str, Any]:
    """Arrays as tensors; never unpickles."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: to_tensor(arrays[name]) for name in arrays.files}


def read_safetensors(path: Path, map_location: MapLocation, trust: bool) -> dict[str, Any]:
    """Tensors of a file that can hold nothing else."""
    from safetensors.torch import load_file

    return load_file(path)


def read_pickle(path: Path, map_location: MapLocation, trust: bool) -> dict[str, Any]:
    """A plain pickle, as detectron2's model zoo has them; those of Python 2 too."""
    with open(path, 'rb') as file:
        return pickle.load(file, encoding='latin1') if trust else ArrayUnpickler(file, encoding='latin1').load()


def read_torch(path: Path, map_location: MapLocation, trust: bool) -> dict[str, Any]:
    """A file of ``torch.save``."""
    with torch.serialization.safe_globals(safe_globals()):
        return torch.load(path, map_location=map_location, weights_only=not trust)


FORMAT_READERS = {
    '.npz': read_npz,
    '.safetensors': read_safetensors,
    '.pkl': read_pickle,
}  # torch's format under any other name


def read_checkpoint(
    path: str | Path, map_location: MapLocation = 'cpu', trust: bool = False, suffix: str = ''
) -> dict[str, Any]:
    """The contents of a ``.pth`` file, a ``.pkl`` of arrays (detectron2's zoo), a ``.safetensors`` or an ``.npz`` file.

    Args:
        path: the file.
        map_location: as in ``torch.load``.
        trust: let the file run what it likes, as unpickling does; only for files whose author is trusted.
        suffix: what tells the format, where the file's own name does not.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or holds anything but tensors, arrays, plain values and mmengine's log buffers.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint file {path}')
    try:
        content = FORMAT_READERS.get(suffix or path.suffix, read_torch)(path, map_location, trust)
    except pickle.UnpicklingError as error:
        if re.search(r'truncated|invalid load key|could not find MARK', str(error)):
            raise CheckpointError(f'{path} is not a readable checkpoint: its pickle is damaged') from None
        named = re.search(r'GLOBAL [^\n]*?(?= was not|$)|getattr\([^\n]*', str(error))
        what = f' ({named.group(0).strip()})' if named else ''
        raise CheckpointError(f'{path} was not loaded: {TRUST_HINT}{what}') from None
    except ImportError as error:
        raise CheckpointError(f'{path} was not loaded: it needs {error.name}, which is not installed') from None
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged pickle may raise anything
        what = 'it is cut off or damaged' if isinstance(error, (EOFError, zipfile.BadZipFile)) else first_line(error)
        raise CheckpointError(f'{path} is not a readable checkpoint: {what}') from None
    if not isinstance(content, dict):
        raise CheckpointError(
            f'{path} is not a checkpoint: it holds a {type(content).__name__}, a checkpoint is a dict'
        )
    return content


def first_line(error: Exception) -> str:
    """An error's own words, cut to one sentence."""
    return str(error).strip().split('\n')[0].split('. ')[0] or type(error).__name__


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """The array as a tensor; any precision becomes float32, integers stay as they are."""
    tensor = torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder('=')))
    return tensor.float() if tensor.is_floating_point() else tensor


def state_dict_of(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The weights inside a checkpoint, wherever its author put them (``state_dict``, ``model`` or the top level).

    The ``module.`` that a data-parallel wrapper leaves in the names is taken off.

    Raises:
        CheckpointError: a name is no text, or an array does not hold numbers.
    """
    found = next(
        (checkpoint[name] for name in ('state_dict', 'model') if isinstance(checkpoint.get(name), dict)), checkpoint
    )
    weights = {}
    for name, value in found.items():
        if not isinstance(value, (torch.Tensor, np.ndarray)):
            continue
        if not isinstance(name, str) or isinstance(value, np.ndarray) and value.dtype.kind not in 'biuf':
            kind = getattr(value, 'dtype', type(value))
            raise CheckpointError(
                f'a weight must have a text for a name and numbers for values, got {name!r} of type {kind}'
            )
        weights[name[7:] if name.startswith('module.') else name] = (
            to_tensor(value) if isinstance(value, np.ndarray) else value
        )
    return weights


def meta_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of itself; empty where it says nothing of use."""
    meta = checkpoint.get('meta')
    return dict(meta) if isinstance(meta, dict) else {}
