"""mmengine's own loaders, which ``init_cfg=dict(type='Pretrained', ...)`` uses, without their fall-back to unsafe unpickling."""

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import checkpoint as mmengine_checkpoint

from .reader import read_checkpoint

MapLocation = str | torch.device | Callable | None


def guarded_torch_load(
    file: str | io.BytesIO, map_location: MapLocation = None, weights_only: bool | None = None
) -> dict[str, Any]:
    """Takes the place of mmengine's ``_safe_torch_load``; a buffer goes through a temporary file.

    Raises:
        CheckpointError: see :func:`mmdvis.structures.read_checkpoint`.
    """
    if not hasattr(file, 'read'):
        return read_checkpoint(file, map_location or 'cpu')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'buffer.pth'
        path.write_bytes(file.read())
        return read_checkpoint(path, map_location or 'cpu')


def guarded_load_url(
    url: str, model_dir: str | None = None, map_location: MapLocation = None, progress: bool = True
) -> dict[str, Any]:
    """Takes the place of torch's function of that name: fetches a file once, then reads it with care.

    Raises:
        CheckpointError: see :func:`mmdvis.structures.read_checkpoint`.
    """
    folder = Path(model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints'))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / Path(url.split('?')[0]).name
    if not path.exists():
        torch.hub.download_url_to_file(url, str(path), progress=progress)
    return read_checkpoint(path, map_location or 'cpu')


def install_guards() -> None:
    """Puts both in their places, for every scheme of addresses that mmengine knows."""
    mmengine_checkpoint._safe_torch_load = guarded_torch_load
    mmengine_checkpoint.load_url = guarded_load_url
