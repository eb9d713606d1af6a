"""Flow fields: files, and the changes that follow those of the frames."""

import io
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdvis.checks import check_npz
from mmdvis.errors import DataError

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
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f'{path} cannot be read as optical flow ({error})') from None
    return torch.from_numpy(np.ascontiguousarray(field, np.float32))


def write_flow(path: str | Path, flow: Tensor) -> None:
    """Writes a flow (2, H, W) as a ``.flo`` file."""
    height, width = flow.shape[1:]
    body = flow.permute(1, 2, 0).contiguous().numpy().astype('<f4').tobytes()
    Path(path).write_bytes(np.float32(MAGIC).tobytes() + np.array([width, height], '<i4').tobytes() + body)


def quarter_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """A flow (2, H, W) as means over the cells of a grid ``size``, in cells of the grid."""
    height, width = flow.shape[-2:]
    scale = flow.new_tensor([size[1] / width, size[0] / height]).view(2, 1, 1)
    return F.adaptive_avg_pool2d(flow[None], size)[0] * scale
