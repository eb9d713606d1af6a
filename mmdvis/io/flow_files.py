"""Files with optical flow."""

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.checks import check_npz
from mmdvis.errors import DataError
from mmdvis.registry import MODELS
from mmdvis.structures import quarter_flow

MAGIC = 202021.25  # first number of a .flo file (Middlebury)


def read_flow(path: str | Path) -> Tensor:
    """Flow (2, H, W) float32 from a ``.flo`` file, or from ``flow`` in an ``.npz`` file.

    Raises:
        DataError: The file is missing or damaged.
    """
    try:
        content = Path(path).read_bytes()
        if str(path).endswith('.npz'):
            check_npz(path)
            field = np.load(io.BytesIO(content), allow_pickle=False)['flow']
        else:
            magic = np.frombuffer(content, '<f4', 1)[0]
            width, height = np.frombuffer(content, '<i4', 2, 4).tolist()
            if magic != MAGIC or width <= 0 or height <= 0:
                raise ValueError('its header is not that of a .flo file')
            field = np.frombuffer(content, '<f4', 2 * width * height, 12).reshape(height, width, 2).transpose(2, 0, 1)
        if field.ndim != 3 or len(field) != 2:
            raise ValueError(f'its shape is {field.shape}, not (2, height, width)')
        return torch.from_numpy(np.ascontiguousarray(field, np.float32))
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile, zlib.error, TokenError) as error:
        raise DataError(f'{path} cannot be read as optical flow ({error})') from None


def write_flow(path: str | Path, flow: Tensor) -> None:
    """Writes a flow (2, H, W) as a ``.flo`` file."""
    height, width = flow.shape[1:]
    body = flow.permute(1, 2, 0).contiguous().numpy().astype('<f4').tobytes()
    Path(path).write_bytes(np.float32(MAGIC).tobytes() + np.array([width, height], '<i4').tobytes() + body)


def read_flow_between(root: Path, video: Any, key: str, reference: str) -> Tensor:
    """Flow (2, H, W) from a key frame into a reference: ``<root>/<video>/<key>__<reference>.flo`` or ``.npz``.

    Args:
        root: Folder of the flow of all videos.
        video: Name of the video.
        key: Name of the key frame.
        reference: Name of the reference.

    Raises:
        DataError: There is no such file, or it is damaged.
    """
    base = root / str(video) / f'{key}__{reference}'
    path = next((p for p in (base.with_name(base.name + s) for s in ('.flo', '.npz')) if p.exists()), None)
    if path is None:
        raise DataError(f'there is no flow {base}.flo or .npz; compute it, or use DISFlow')
    return read_flow(path)


@MODELS.register_module()
class FlowFiles:
    """Flow from files, see :func:`read_flow_between`; for training, see :class:`LoadFlow`.

    Args:
        root: Folder of the files.
    """

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def __call__(self, key: Tensor, references: Tensor, names: Sequence[Any] | None = None) -> Tensor:
        """Flow (N, 2, H / 4, W / 4) in cells of the grid.

        Args:
            key: Key frame (3, H, W).
            references: References (N, 3, H, W).
            names: Name of the video, of the key frame, and of each reference.

        Raises:
            DataError: The names are unknown, or a file is missing.
        """
        if names is None:
            raise DataError(
                'FlowFiles needs the names of video and frames, which this source does not have; use DISFlow, and in '
                'training the transform LoadFlow'
            )
        video, key_name, *others = names
        flows = [read_flow_between(self.root, video, key_name, other) for other in others]
        rows, columns = -(-key.shape[1] // 4), -(-key.shape[2] // 4)
        padding = (0, 4 * columns - key.shape[2], 0, 4 * rows - key.shape[1])  # so that a cell has 4 x 4 pixels
        return torch.stack([quarter_flow(F.pad(flow, padding, mode='replicate'), (rows, columns)) for flow in flows])
