"""Safe replacements of the checkpoint loaders of mmengine, which fall back to unsafe unpickling.

mmengine calls these loaders for ``init_cfg=dict(type='Pretrained', ...)``.
"""

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
    """Replacement of mmengine's ``_safe_torch_load``; buffers are read through a temporary file.

    Raises:
        CheckpointError: See :func:`mmdvis.checkpoints.read_checkpoint`.
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
    """Replacement of torch's ``load_url``: downloads the file if it is not cached and reads it safely.

    Raises:
        CheckpointError: See :func:`mmdvis.checkpoints.read_checkpoint`.
    """
    folder = Path(model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints'))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / Path(url.split('?')[0]).name
    if not path.exists():
        torch.hub.download_url_to_file(url, str(path), progress=progress)
    return read_checkpoint(path, map_location or 'cpu')


def install_guards() -> None:
    """Installs both replacements in mmengine, for all URL schemes it supports."""
    mmengine_checkpoint._safe_torch_load = guarded_torch_load
    mmengine_checkpoint.load_url = guarded_load_url
