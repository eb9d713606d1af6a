"""Reads checkpoint files without executing code that untrusted files may contain."""

import errno
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmdvis.checks import check_npz
from mmdvis.errors import CheckpointError

from .safe_pickle import ArrayUnpickler, safe_globals

TRUST_HINT = (
    'it holds objects other than tensors, numbers and arrays; only if you trust its author, load it with --trust '
    '(trust=True in Python)'
)

MapLocation = str | torch.device | Callable


def read_npz(path: Path, map_location: MapLocation, trust: bool) -> dict[str, Any]:
    """Reads the arrays of an ``.npz`` file as tensors; pickled objects are not allowed."""
    check_npz(path)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: to_tensor(arrays[name]) for name in arrays.files}


def read_safetensors(path: Path, map_location: MapLocation, trust: bool) -> dict[str, Any]:
    """Reads a ``.safetensors`` file, which can only contain tensors."""
    from safetensors.torch import load_file

    return load_file(path)


def read_pickle(path: Path, map_location: MapLocation, trust: bool) -> dict[str, Any]:
    """Reads a plain pickle of Python 2 or 3, as in the model zoo of detectron2."""
    with open(path, 'rb') as file:
        return pickle.load(file, encoding='latin1') if trust else ArrayUnpickler(file, encoding='latin1').load()


def read_torch(path: Path, map_location: MapLocation, trust: bool) -> dict[str, Any]:
    """Reads a file of ``torch.save`` after comparing the checksums in it, which torch does not."""
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except Exception as error:  # wrong offsets and sizes in a damaged directory raise many kinds
            raise zipfile.BadZipFile(str(error)) from None
        if damaged is not None:
            raise zipfile.BadZipFile(f'the checksum of {damaged} is wrong')
    with torch.serialization.safe_globals(safe_globals()):
        return torch.load(path, map_location=map_location, weights_only=not trust)


FORMAT_READERS = {
    '.npz': read_npz,
    '.safetensors': read_safetensors,
    '.pkl': read_pickle,
}  # all other suffixes are read by torch.load


def read_checkpoint(
    path: str | Path, map_location: MapLocation = 'cpu', trust: bool = False, suffix: str = ''
) -> dict[str, Any]:
    """Reads a ``.pth``, ``.safetensors`` or ``.npz`` file, or a ``.pkl`` file of arrays (model zoo of detectron2).

    Args:
        path: Path of the file.
        map_location: See ``torch.load``; only used for files of ``torch.save``.
        trust: Allow unrestricted unpickling, which can execute arbitrary code. Use it only for trusted files.
        suffix: Suffix that determines the format; the suffix of ``path`` if empty.

    Raises:
        FileNotFoundError: If the file does not exist.
        CheckpointError: If the file is damaged or contains anything other than tensors, arrays, plain values and log
            buffers of mmengine.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint file {path}')
    try:
        content = FORMAT_READERS.get(suffix or path.suffix, read_torch)(path, map_location, trust)
    except pickle.UnpicklingError as error:
        if re.search(r'truncated|invalid load key|could not find MARK', str(error)):
            raise CheckpointError(f'{path} is not a readable checkpoint: its pickle is damaged') from None
        blocked_global = re.search(r'GLOBAL [^\n]*?(?= was not|$)|getattr\([^\n]*', str(error))
        detail = f' ({blocked_global.group(0).strip()})' if blocked_global else ''
        raise CheckpointError(f'{path} was not loaded: {TRUST_HINT}{detail}') from None
    except ImportError as error:
        raise CheckpointError(f'{path} was not loaded: it needs {error.name}, which is not installed') from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # torch seeks to the offsets in a damaged file
            raise
        raise CheckpointError(f'{path} is not a readable checkpoint: it is truncated or damaged') from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can raise any exception
        detail = (
            'it is truncated or damaged' if isinstance(error, (EOFError, zipfile.BadZipFile)) else first_line(error)
        )
        raise CheckpointError(f'{path} is not a readable checkpoint: {detail}') from None
    if not isinstance(content, dict):
        raise CheckpointError(
            f'{path} is not a checkpoint: it contains a {type(content).__name__}, a checkpoint must be a dict'
        )
    return content


def first_line(error: Exception) -> str:
    """First sentence of the message of an error, or its type if the message is empty."""
    return str(error).strip().split('\n')[0].split('. ')[0] or type(error).__name__


def to_tensor(array: np.ndarray) -> torch.Tensor:
    """Converts an array to a tensor; floating point values become float32, other types are kept."""
    tensor = torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder('=')))
    return tensor.float() if tensor.is_floating_point() else tensor


def state_dict_of(checkpoint: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Weights of a checkpoint, from its key ``state_dict`` or ``model`` or from the top level.

    The prefix ``module.`` of data-parallel wrappers is removed from the names.

    Raises:
        CheckpointError: If a name is not a string or an array is not numeric.
    """
    state_dict = next(
        (checkpoint[name] for name in ('state_dict', 'model') if isinstance(checkpoint.get(name), dict)), checkpoint
    )
    weights = {}
    for name, value in state_dict.items():
        if not isinstance(value, (torch.Tensor, np.ndarray)):
            continue
        if not isinstance(name, str) or isinstance(value, np.ndarray) and value.dtype.kind not in 'biuf':
            type_name = getattr(value, 'dtype', type(value))
            raise CheckpointError(f'weights must be numeric and named by strings, got {name!r} of type {type_name}')
        weights[name[7:] if name.startswith('module.') else name] = (
            to_tensor(value) if isinstance(value, np.ndarray) else value
        )
    return weights


def meta_of(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Metadata of a checkpoint; empty if it has none."""
    meta = checkpoint.get('meta')
    return dict(meta) if isinstance(meta, dict) else {}
