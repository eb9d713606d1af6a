"""Cache of named tensors on disk, which several processes can share."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from mmengine.logging import print_log
from safetensors.torch import load_file, save
from torch import Tensor

from mmdvis.errors import OptionError

from .atomic_write import atomic_write


class TensorCache:
    """Named tensors under keys, in one safetensors file each, in a folder.

    Keys are hashes of what the tensors were computed from, so several processes and trainings can use one folder at the
    same time. Entries are never removed: delete the folder to free it.

    Args:
        folder: Folder of the files; it is created.
        max_gb: Size in GB up to which this process adds entries; what does not fit is computed again.

    Raises:
        OptionError: ``max_gb`` is not positive and finite.
    """

    def __init__(self, folder: str, max_gb: float = 20.0) -> None:
        if not 0 < max_gb < float('inf'):
            raise OptionError(f'max_gb must be positive and finite, got {max_gb}')
        self.folder, self.remaining = Path(folder), int(max_gb * 1e9)
        self.is_full = False
        self.fingerprints: dict[str, tuple[tuple, str]] = {}  # text -> versions of the weights, and key

    def key(self, *parts: str | Tensor) -> str:
        """Key of what an entry is computed from: texts, and tensors with their types, shapes and values."""
        digest = hashlib.blake2b(digest_size=20)
        for part in parts:
            if isinstance(part, str):
                digest.update(part.encode())
                continue
            digest.update(f'{part.dtype}{tuple(part.shape)}'.encode())
            digest.update(part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def fingerprint(self, text: str, weights: Iterable[Tensor]) -> str:
        """Key of a text and of weights; it is computed again only after one of the weights was changed."""
        weights = tuple(weights)
        version = tuple((weight.data_ptr(), weight._version) for weight in weights)
        if text not in self.fingerprints or self.fingerprints[text][0] != version:
            self.fingerprints[text] = version, self.key(text, *weights)
        return self.fingerprints[text][1]

    def get(self, key: str) -> dict[str, Tensor] | None:
        """The tensors of an entry on the CPU; None if there is no such entry or it cannot be read."""
        path = self.path(key)
        try:
            return load_file(path)
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged file raises different types
            print_log(
                f'the entry {path} of the cache cannot be read and is computed again: {error}',
                'current',
                logging.WARNING,
            )
            return None

    def put(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Stores the tensors of an entry, unless the cache is full.

        Args:
            key: Result of :meth:`key`.
            tensors: Name -> tensor.

        Raises:
            OSError: The disk is full.
        """
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        if size > self.remaining:
            if not self.is_full:
                print_log(f'the cache {self.folder} is full; other outputs are computed each time', 'current')
                self.is_full = True
            return
        self.remaining -= size
        with atomic_write(self.path(key)) as temporary:
            temporary.write_bytes(save({name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}))

    def path(self, key: str) -> Path:
        """File of an entry."""
        return self.folder / key[:2] / f'{key[2:]}.safetensors'
